"""Answers of several calls to the service, through the relay: what becomes of each when one goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.events import Answered, Failed
from kiro_auth.failures import CATALOGUE, Failure
from support.exchange import Step
from support.frames import END, event, text
from support.relaying import Gateway

SEARCH: list[Step] = [
    event("toolUseEvent", toolUseId="t1", name="web_search", input='{"query": "rain"}', stop=True),
    END,
]
WORDS: list[Step] = [text("Rain."), END]
CUT: list[Step] = [text("Hello"), text("world")[:20]]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"role": "user", "content": "Rain?"}], "max_tokens": 900},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Rain?"}]},
    "/v1/responses": {"input": "Rain?"},
}
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
APIS = pytest.mark.parametrize("path", BODIES)


async def answered(
    made: Gateway, path: str = "/v1/messages", *, stream: bool = False, **more: Any
) -> tuple[int, str]:
    """Status and words of the answer to a request with a search."""
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    body = {"model": "claude-sonnet-4-5", "stream": stream, "tools": tools, **BODIES[path], **more}
    response = await made.asks(stream=stream, path=path, body=body)
    words = made.client.written.partition(b"\r\n\r\n")[2] if stream else response.body
    return response.status, words.decode()


def refusal(code: str) -> Failure:
    return Failure(code=code, message=CATALOGUE[code].title, next_step=CATALOGUE[code].remedy)


@WAYS
@APIS
@pytest.mark.parametrize("calls", [[CUT], [SEARCH, CUT]], ids=["first call", "second call"])
async def test_an_answer_that_breaks_off_in_any_call_ends_in_the_api_s_own_shape(
    tmp_path: Path, path: str, calls: list[list[Step]], stream: bool
) -> None:
    made = Gateway(tmp_path, *calls * 9)

    status, words = await answered(made, path, stream=stream)

    assert "broke off" in words
    assert (status == 200) is stream
    if not stream:
        assert json.loads(words)["error"]
    assert isinstance(made.turn.end, Failed)
    assert made.turn.usage is not None
    assert made.turn.usage.input.value > 0


@WAYS
@pytest.mark.parametrize(
    ("code", "calls"), [("KA-TOOLS", 3), ("KA-MODEL", 2), ("KA-OVERFLOW", 2), ("KA-THROTTLE", 5)]
)
async def test_a_later_call_that_is_refused_for_good_is_counted_and_told_once(
    tmp_path: Path, code: str, calls: int, stream: bool
) -> None:
    made = Gateway(tmp_path, SEARCH, *[refusal(code)] * 9, accounts="a")

    _, words = await answered(made, stream=stream)

    assert len(made.service.sent) == calls
    assert len(made.turn.attempts) == calls - 2, "the last failure is the end of the turn"
    assert isinstance(made.turn.end, Failed)
    assert made.turn.end.failure.code == code
    if code == "KA-TOOLS":
        assert words.count("1 tools in") == 1


@WAYS
@APIS
@pytest.mark.parametrize("limit", [12, 40, 100])
async def test_an_answer_of_several_calls_is_cut_where_the_client_s_limit_is(
    tmp_path: Path, path: str, limit: int, stream: bool
) -> None:
    before = "b" * 20
    made = Gateway(tmp_path, [text(before), *SEARCH[:1]], [text("a" * 4000), END])
    field = {"/v1/messages": "max_tokens", "/v1/chat/completions": "max_tokens"}.get(
        path, "max_output_tokens"
    )

    _, words = await answered(made, path, stream=stream, **{field: limit})

    assert isinstance(made.turn.end, Answered)
    assert made.turn.end.reason == "length"
    assert made.turn.usage is not None
    assert made.turn.usage.output.value <= limit + 1
    assert before in words
    assert words.count("a" * (4 * limit + 1)) == 0


@WAYS
async def test_who_goes_on_with_an_answer_is_who_answered_and_people_are_told(
    tmp_path: Path, stream: bool
) -> None:
    made = Gateway(tmp_path, SEARCH, refusal("KA-QUOTA"), WORDS)

    status, _ = await answered(made, stream=stream)

    assert status == 200
    assert made.turn.served is not None
    assert (made.turn.served.account, made.turn.served.account_name) == ("b", "Account b")
    assert [failure.account for failure in made.turn.attempts] == ["Account a"]
    [told] = made.notices.since(0)[1]
    assert told.message.startswith("Account b takes over. Account a:")
