"""Refusals that are met by sending the request once more, mended."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.kiro.request.replays import REPLAYS
from support.exchange import Step
from support.frames import END, text
from support.relaying import Gateway

HELLO: list[Step] = [text("Hello"), END]
SETTINGS = {
    "type": "object",
    "properties": {
        "output_config": {"type": "object", "properties": {"effort": {"enum": ["low", "high"]}}},
        "max_tokens": {"type": "integer", "minimum": 10, "maximum": 9000},
    },
}
ROWS = [
    {
        "modelId": "claude-nova-7",
        "supportedInputTypes": ["TEXT", "IMAGE"],
        "additionalModelRequestFieldsSchema": SETTINGS,
    },
    {"modelId": "claude-nova-6"},
]
THOUGHT = {"type": "thinking", "thinking": "A thought.", "signature": "c2lnbmVk"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoA"}}
FILE = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "QUJD"}}
FULL: dict[str, Any] = {
    "model": "claude-nova-7",
    "max_tokens": 900,
    "output_config": {"effort": "high"},
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, PICTURE, FILE]},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "Go on"},
    ],
}
MARKS = {
    "reasoning": "reasoningContent",
    "fields": "additionalModelRequestFields",
    "images": '"images"',
    "documents": '"documents"',
}
"""What stands in a body that holds the part."""


def refusal(code: str) -> Failure:
    return Failure(code=code, message=CATALOGUE[code].title, next_step=CATALOGUE[code].remedy)


def gateway(folder: Path, *script: Any, accounts: str = "a") -> Gateway:
    made = Gateway(folder, *script, accounts=accounts)
    made.service.models = ROWS
    return made


def sent(made: Gateway) -> list[str]:
    return [json.dumps(body) for _, body in made.service.sent]


async def asked(made: Gateway, body: dict[str, Any]) -> tuple[int, str]:
    """Status, and the message of a failure."""
    response = await made.asks(stream=False, body=body)
    answer = json.loads(response.body)
    return response.status, answer["error"]["message"] if "error" in answer else ""


@pytest.mark.parametrize("code", REPLAYS)
async def test_a_request_is_sent_once_more_without_exactly_what_was_refused(
    tmp_path: Path, code: str
) -> None:
    made = gateway(tmp_path, refusal(code), HELLO)

    assert (await asked(made, FULL))[0] == 200

    first, second = sent(made)
    left_out = REPLAYS[code].without
    assert all(mark in first for mark in MARKS.values())
    assert [name for name, mark in MARKS.items() if mark not in second] == ([left_out] if left_out else [])
    assert made.stage.slept == [REPLAYS[code].seconds]
    assert made.stage.account().state == "ready"


@pytest.mark.parametrize("code", REPLAYS)
async def test_a_second_refusal_is_final_and_shown_once(tmp_path: Path, code: str) -> None:
    made = gateway(tmp_path, refusal(code), refusal(code))

    status, _ = await asked(made, FULL)

    assert (status, len(made.service.sent)) == (424, 2)


WITHOUT = {"model": "claude-nova-6", "max_tokens": 900, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("code", [code for code, replay in REPLAYS.items() if replay.without])
async def test_what_has_nothing_to_leave_out_is_not_sent_again(tmp_path: Path, code: str) -> None:
    made = gateway(tmp_path, refusal(code))

    status, _ = await asked(made, WITHOUT)

    settings_are_left_out_beforehand = code == "KA-FIELDS"
    assert status == (424 if settings_are_left_out_beforehand else 400)
    assert len(made.service.sent) == 1


async def test_an_account_that_takes_no_settings_for_a_model_is_never_sent_them_again(tmp_path: Path) -> None:
    made = gateway(tmp_path, refusal("KA-FIELDS"), HELLO, HELLO, HELLO)
    other = [{**ROWS[0], "modelId": "claude-nova-8"}]
    made.service.models = [*ROWS, *other]

    for model in ("claude-nova-7", "claude-nova-7", "claude-nova-8"):
        assert (await asked(made, {**FULL, "model": model}))[0] == 200

    assert [MARKS["fields"] in body for body in sent(made)] == [True, False, False, True]


async def test_another_account_is_asked_with_all_settings(tmp_path: Path) -> None:
    made = gateway(
        tmp_path, refusal("KA-FIELDS"), Failure(code="KA-QUOTA", message="Used up."), HELLO, accounts="ab"
    )

    assert (await asked(made, FULL))[0] == 200

    assert [token for token, _ in made.service.sent] == ["a-0", "a-0", "b-0"]
    assert [MARKS["fields"] in body for body in sent(made)] == [True, False, True]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_inside_the_stream_before_a_word_is_mended_too(tmp_path: Path, stream: bool) -> None:
    made = gateway(tmp_path, [refusal("KA-SIGNATURE")], HELLO)

    response = await made.asks(stream=stream, body={**FULL, "stream": stream})

    assert response.status == 200
    assert [MARKS["reasoning"] in body for body in sent(made)] == [True, False]


@pytest.mark.parametrize(
    ("model", "calls", "status", "words"),
    [
        ("claude-nova-6", 2, 424, "although it lists it for the account"),
        ("claude-nova-9", 1, 404, "is unknown, or not part of the account's plan or region"),
    ],
    ids=["listed", "not listed"],
)
async def test_a_refused_model_is_asked_for_again_only_if_the_account_lists_it(
    tmp_path: Path, model: str, calls: int, status: int, words: str
) -> None:
    made = gateway(tmp_path, *[refusal("KA-MODEL")] * calls)

    found, message = await asked(made, {**WITHOUT, "model": model})

    assert (found, len(made.service.sent)) == (status, calls)
    assert words in message
    assert f"'{model}'" in message


async def test_a_listed_model_is_tried_again_after_a_second_before_another_account_is_asked(
    tmp_path: Path,
) -> None:
    made = gateway(tmp_path, *[refusal("KA-MODEL")] * 2, HELLO, accounts="ab")

    assert (await asked(made, WITHOUT))[0] == 200
    assert [token for token, _ in made.service.sent] == ["a-0", "a-0", "b-0"]
    assert made.stage.slept == [1.0]


@pytest.mark.parametrize("tools", [0, 3])
async def test_a_lasting_refusal_of_the_tools_names_their_number_and_the_size(
    tmp_path: Path, tools: int
) -> None:
    made = gateway(tmp_path, *[refusal("KA-TOOLS")] * 2)
    declared = [{"name": f"t{n}", "input_schema": {"type": "object"}} for n in range(tools)]

    _, message = await asked(made, {**WITHOUT, "tools": declared})

    size = len(json.dumps(made.service.sent[1][1], separators=(",", ":")))
    assert f"The request had {tools} tools in {size:,} bytes (KA-TOOLS)." in message.replace("·", "")


@pytest.mark.parametrize("stream", [False, True])
async def test_the_service_is_let_go_as_soon_as_the_client_has_all_it_takes(
    tmp_path: Path, stream: bool
) -> None:
    never = asyncio.Event()
    made = gateway(tmp_path, [text("1234"), text("5678"), never])

    async with asyncio.timeout(5):
        await made.asks(stream=stream, body={**WITHOUT, "max_tokens": 1, "stream": stream})

    assert made.turn.usage is not None
    assert made.turn.usage.output.value == 1
