"""An answer that is cut at the client's limit of output tokens, by our own count."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import CallReady, Finished, ReasoningDelta, ReplyEvent, TextDelta
from kiro_auth.kiro.reply.answer_text import Expected
from kiro_auth.kiro.reply.reader import Reader
from support.frames import END, event, text

BYTES_OF_A_TOKEN = 4


def reader(limit: int | None, **more: Any) -> Reader:
    usual: dict[str, Any] = {
        "tool_names": {},
        "context_window": 200_000,
        "input_tokens": 1000,
        "request_id": "r",
    }
    return Reader(**usual | more, output_limit=limit)


def read(limit: int | None, *frames: bytes, **more: Any) -> list[ReplyEvent]:
    source = reader(limit, **more)
    return [found for frame in frames for found in source.feed(frame)] + source.close()


def words(events: list[ReplyEvent]) -> str:
    return "".join(found.text for found in events if isinstance(found, TextDelta | ReasoningDelta))


def end(events: list[ReplyEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


pieces = st.lists(st.text(alphabet="aä€𝄞 ,", max_size=30), min_size=1, max_size=8)


@given(pieces, st.integers(1, 30), st.lists(st.booleans(), min_size=8, max_size=8))
def test_it_is_cut_exactly_where_it_has_as_many_tokens_whatever_its_words_and_pieces(
    parts: list[str], limit: int, reasoned: list[bool]
) -> None:
    frames = [
        event("reasoningContentEvent", text=part) if thought else text(part)
        for part, thought in zip(parts, reasoned, strict=False)
    ]
    whole = "".join(parts)
    events = read(limit, *frames, event("meteringEvent", usage=1.0))
    told, room = words(events), limit * BYTES_OF_A_TOKEN

    if len(whole.encode()) > room:
        assert whole.startswith(told)
        assert room - 3 <= len(told.encode()) <= room
        assert end(events).reason == "length"
        assert end(events).usage.output.value <= limit
    elif whole:
        assert told == whole
        assert end(events).reason == "end"


def test_nothing_after_the_limit_is_read() -> None:
    source = reader(1)
    assert end(source.feed(text("12345"))).reason == "length"
    assert source.done
    assert source.feed(text("more") + END) == []
    assert source.close() == []


@given(st.integers(0, 60), st.lists(st.integers(1, 50), max_size=4))
def test_a_call_beyond_the_limit_is_not_passed_on_but_named(padding: int, cuts: list[int]) -> None:
    arguments = json.dumps({"a": "x" * padding})
    places = sorted({0, *(cut for cut in cuts if cut < len(arguments)), len(arguments)})
    call = {"toolUseId": "t", "name": "write"}
    frames = [event("toolUseEvent", **call, input=arguments[a:b]) for a, b in pairwise(places)]
    events = read(10, text("12345678"), *frames, event("toolUseEvent", **call, stop=True), END)

    if len(arguments) > 40 - 8:
        assert not any(isinstance(found, CallReady) for found in events)
        assert words(events) == "12345678\n\n[The call of the tool write was cut off, and was not run.]"
        assert end(events).reason == "length"
    else:
        assert any(isinstance(found, CallReady) for found in events)
        assert end(events).reason == "tool_calls"


def test_what_a_stop_sequence_held_back_is_said_before_the_cut_and_a_whole_one_still_ends_it() -> None:
    cut = read(2, text("1234EN"), text("567"), expected=Expected(stops=("END",)))
    assert (words(cut), end(cut).reason) == ("1234EN56", "length")

    stopped = read(2, text("1234EN"), text("D67"), expected=Expected(stops=("END",)))
    assert (words(stopped), end(stopped).reason) == ("1234", "stop_sequence")


def test_thinking_in_tags_counts() -> None:
    """The tags too: the model wrote them."""
    events = read(6, text("<thinking>0123456789"), text("abcdef</thinking>Yes"), expected=Expected(tags=True))

    assert words(events) == "0123456789abcd"
    assert end(events).reason == "length"


@pytest.mark.parametrize("cuts", [["..."], [".", "..", ""], ["..", "."], [" ", "...", "\n"]])
@pytest.mark.parametrize("closed", ["signature", "text", "nothing"])
def test_what_stands_for_hidden_reasoning_is_no_thought(cuts: list[str], closed: str) -> None:
    frames = [event("reasoningContentEvent", text=cut) for cut in cuts]
    close = {
        "signature": [event("reasoningContentEvent", signature=".KTR~~x")],
        "text": [text("b")],
        "nothing": [],
    }
    events = read(None, text("a"), *frames, *close[closed], END)

    assert words(events) == ("ab" if closed == "text" else "a")
    assert end(events).reason == "end"
    assert any(type(found).__name__ == "ReasoningSigned" for found in events) == (closed == "signature")


@given(st.lists(st.text(alphabet=". a", max_size=4), max_size=6))
def test_every_other_reasoning_is_said_whole(cuts: list[str]) -> None:
    whole = "".join(cuts)
    frames = [event("reasoningContentEvent", text=cut) for cut in cuts]
    events = read(None, *frames, event("reasoningContentEvent", signature="s"), text("!"), END)

    assert words(events) == ("" if whole.strip() == "..." else whole) + "!"


@given(st.floats(0.0001, 100), st.integers(1, 10**6))
def test_a_percentage_of_another_window_never_hides_most_of_the_input(percent: float, estimate: int) -> None:
    events = read(
        None, text("a"), event("contextUsageEvent", contextUsagePercentage=percent), input_tokens=estimate
    )

    assert end(events).usage.input.value >= estimate / 10
