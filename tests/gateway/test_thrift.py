"""Titles and summaries by the cheapest listed model: which one that is, and who is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kiro_auth.events import Answered, Asked
from kiro_auth.failures import Failure
from kiro_auth.gateway.thrift import cheapest
from kiro_auth.gateway.turn_lines import line
from kiro_auth.kiro.models import Model
from kiro_auth.ledger.row import row_of
from support.exchange import Step
from support.frames import END, text
from support.relaying import Gateway

HELLO: list[Step] = [text("A title"), END]
LISTED = [
    {"modelId": "claude-opus-4.6", "rateMultiplier": 2.2},
    {"modelId": "claude-haiku-4.5", "rateMultiplier": 0.4},
    {"modelId": "claude-sonnet-4.5", "rateMultiplier": 1.3},
]
OPUS = Model(id="opus", name="opus", rate=2.2, context_window=1_000_000)
HAIKU = Model(id="haiku", name="haiku", rate=0.4, context_window=200_000)
SEEING = Model(id="sonnet", name="sonnet", rate=1.3, inputs=frozenset({"text", "image"}))
UNKNOWN = Model(id="new", name="new")


def asked(size: int = 4000, images: int = 0) -> Asked:
    return Asked(
        model="opus", session=None, kind="title", stream=False, messages=1, tools=0, images=images,
        documents=0, size=size,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "of", "listed", "found"),
    [
        (asked(), OPUS, [OPUS, SEEING, HAIKU], HAIKU),
        (asked(images=1), OPUS, [OPUS, SEEING, HAIKU], SEEING),
        (asked(size=900_000), OPUS, [OPUS, HAIKU], None),
        (asked(), HAIKU, [OPUS, HAIKU], None),
        (asked(), UNKNOWN, [UNKNOWN, HAIKU], None),
        (asked(), OPUS, [OPUS, UNKNOWN], None),
    ],
    ids=["cheapest", "sees images", "too long", "is it", "asked one without rate", "others without"],
)
def test_the_cheapest_listed_model_that_can_read_the_request_is_taken(
    request_: Asked, of: Model, listed: list[Model], found: Model | None
) -> None:
    assert cheapest(request_, of, listed) == found


async def ask(gateway: Gateway, kind: str | None, **more: Any) -> Any:
    """With the list of models known."""
    gateway.service.models = LISTED
    await gateway.relay._catalog.renew()
    body = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"x-kiro-kind": kind} if kind else {}
    return await gateway.asks(stream=False, body=body, **headers, **more)


@pytest.mark.parametrize("kind", ["title", "compaction"])
async def test_an_errand_goes_to_the_cheapest_model_and_answer_log_and_ledger_say_so(
    tmp_path: Path, kind: str
) -> None:
    gateway = Gateway(tmp_path, HELLO, thrift=True)

    response = await ask(gateway, kind)

    assert sent_to(gateway) == ["claude-haiku-4.5"]
    assert response.headers["x-kiro-model"] == "claude-haiku-4.5"
    assert response.headers["x-kiro-thrift"] == "claude-opus-4.6"
    row = row_of(gateway.turn)
    assert (row.model_asked, row.model, row.thrift_for) == (
        "claude-opus-4-6",
        "claude-haiku-4.5",
        "claude-opus-4.6",
    )
    assert "claude-opus-4-6 → claude-haiku-4.5" in line(gateway.turn)


@pytest.mark.parametrize(("thrift", "kind"), [(False, "title"), (True, None), (True, "primary")])
async def test_what_is_no_errand_or_not_wanted_goes_to_the_model_that_was_asked_for(
    tmp_path: Path, thrift: bool, kind: str | None
) -> None:
    gateway = Gateway(tmp_path, HELLO, thrift=thrift)

    response = await ask(gateway, kind)

    assert sent_to(gateway) == ["claude-opus-4.6"]
    assert "x-kiro-thrift" not in response.headers
    assert row_of(gateway.turn).thrift_for is None


async def test_where_the_cheaper_model_fails_the_one_that_was_asked_for_answers(tmp_path: Path) -> None:
    full = [Failure(code="KA-CAPACITY", message="Full.")] * 4
    gateway = Gateway(tmp_path, *full, HELLO, accounts="a", thrift=True)

    response = await ask(gateway, "title")

    assert sent_to(gateway)[-1] == "claude-opus-4.6"
    assert response.headers["x-kiro-fallback"] == "claude-haiku-4.5; KA-CAPACITY"
    assert "x-kiro-thrift" not in response.headers
    assert gateway.turn.end == Answered("end")


def sent_to(gateway: Gateway) -> list[str]:
    bodies = [body for _, body in gateway.service.sent]
    return [body["conversationState"]["currentMessage"]["userInputMessage"]["modelId"] for body in bodies]
