"""Scripts as JSON, and the frames they become."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.reply.eventstream import EventStreamDecoder, Frame, FrameCorrupt
from kiro_auth.simulator.script import (
    Cut,
    Drip,
    Endless,
    Hang,
    Pause,
    Raise,
    Raw,
    Reasoning,
    Redacted,
    Step,
    Tail,
    Text,
    ToolUse,
    steps_from_json,
)
from kiro_auth.simulator.wire import Break, Damage, Output, frames, sign

CLOSING = ["metadataEvent", "contextUsageEvent", "meteringEvent"]


def output(steps: Sequence[Step], protocol: str = "rest", max_tokens: int | None = None) -> list[Output]:
    usual: dict[str, Any] = {"conversation_id": "c-1", "input_tokens": 100, "window": 200_000}
    return list(frames(steps, protocol=protocol, max_tokens=max_tokens, **usual))


def read(made: Sequence[Output]) -> list[Frame]:
    decoder = EventStreamDecoder()
    read = decoder.feed(b"".join(part for part in made if isinstance(part, bytes)))
    decoder.close()
    return read


def events(steps: Sequence[Step], protocol: str = "rest") -> list[tuple[str, Any]]:
    return [
        (str(frame.headers.get(":event-type")), json.loads(frame.payload))
        for frame in read(output(steps, protocol))
    ]


def names(steps: Sequence[Step], protocol: str = "rest") -> list[str]:
    return [name for name, _ in events(steps, protocol)]


# -------------------------------------------------------------------------------------- from JSON

READ = {
    "text": ({"text": "Hi"}, Text("Hi")),
    "empty text": ({"text": ""}, Text("")),
    "reasoning": ({"reasoning": "Hm"}, Reasoning("Hm")),
    "signed reasoning": ({"reasoning": "Hm", "signature": "s"}, Reasoning("Hm", "s")),
    "redacted": ({"redacted": "AAAA"}, Redacted("AAAA")),
    "tool": ({"tool": {"name": "w", "input": {"a": 1}}}, ToolUse("w", {"a": 1})),
    "tool in fragments": (
        {"tool": {"name": "w", "id": "t1", "fragments": ["{}", '{"a"']}},
        ToolUse("w", {}, "t1", ["{}", '{"a"']),
    ),
    "pause": ({"pause": 1}, Pause(1.0)),
    "hang": ({"hang": 2.5}, Hang(2.5)),
    "exception": (
        {"exception": {"type": "ThrottlingException", "reason": "R", "message": "m"}},
        Raise("ThrottlingException", "m", "R"),
    ),
    "error": ({"exception": {"type": "X", "framing": "error"}}, Raise("X", framing="error")),
    "cut": ({"cut": "reset"}, Cut("reset")),
    "event": ({"event": {"name": "codeEvent", "payload": None}}, Raw("codeEvent", None)),
    "endless": ({"endless": {"name": "ping"}}, Endless("ping")),
    "drip": ({"drip": 0.5}, Drip(0.5)),
    "tail": (
        {"tail": {"withMetadata": False, "stopReason": "MAX_TOKENS"}},
        Tail(with_metadata=False, stop_reason="MAX_TOKENS"),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_step_is_read_from_its_json(name: str) -> None:
    value, step = READ[name]

    assert steps_from_json([value]) == [step]


UNREADABLE = {
    "no step": ({}, "step 2 must be one of text, reasoning"),
    "two in one": ({"text": "a", "pause": 1}, "step 2 must be one of"),
    "a signature alone": ({"signature": "s"}, "step 2 must be one of"),
    "unknown": ({"say": "a"}, "step 2 cannot be read"),
    "a string": ("text", "step 2 cannot be read"),
    "a number as text": ({"text": 1}, r"step 2 cannot be read: .*\$\.text"),
    "a tool without name": ({"tool": {"input": {}}}, "step 2 .*name"),
    "a misspelt tail": ({"tail": {"withMetdata": False}}, "step 2 .*withMetdata"),
    "an unknown cut": ({"cut": "half"}, "step 2 .*half"),
    "a cut tool call without call": ({"cut": "tool"}, "step 2: .* must follow a tool"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_step_that_cannot_be_read_is_named(name: str) -> None:
    value, message = UNREADABLE[name]

    with pytest.raises(ValueError, match=message):
        steps_from_json([{"text": "first"}, value])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*READ["tool"][0], "text", "cut", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=3))
def test_any_json_becomes_steps_or_a_clear_error(values: list[Any]) -> None:
    try:
        steps = steps_from_json(values)
    except ValueError as error:
        message = str(error)
    else:
        message = ""
        assert output(steps)

    assert message.startswith("step ") or len(values) == len(steps)


# ------------------------------------------------------------------------------------------ frames


def test_a_reply_opens_with_the_conversation_and_closes_with_the_figures() -> None:
    first, *_, metadata, context, metering = events([Text("Hello there")])

    assert first == ("messageMetadataEvent", {"conversationId": "c-1"})
    usage = metadata[1]["tokenUsage"]
    assert metadata[1]["stopReason"] == "END_TURN"
    assert usage["totalTokens"] == usage["uncachedInputTokens"] + usage["outputTokens"]
    assert usage["uncachedInputTokens"] == 100
    assert context == ("contextUsageEvent", {"contextUsagePercentage": usage["totalTokens"] / 2000})
    assert metering[1].keys() == {"usage", "unit", "unitPlural"}
    assert metering[1]["usage"] > 0


def test_the_rpc_dialect_says_the_conversation_in_an_initial_response() -> None:
    assert events([], "rpc")[0] == ("initial-response", {"conversationId": "c-1"})
    assert "initial-response" not in names([], "rest")


@given(st.text(st.characters(codec="utf-8")))
def test_the_deltas_joined_are_the_text(text: str) -> None:
    said = [payload["content"] for name, payload in events([Text(text)]) if name == "assistantResponseEvent"]

    assert "".join(said) == text


@given(st.lists(st.text(alphabet="ab ", min_size=1, max_size=20), max_size=5), st.integers(1, 20))
def test_a_limit_of_tokens_ends_the_reply_with_its_reason(texts: list[str], limit: int) -> None:
    made = read(output([Text(text) for text in texts], max_tokens=limit))
    told = [json.loads(frame.payload) for frame in made]
    whole, room = "".join(texts), limit * 4

    assert "".join(event.get("content", "") for event in told) == whole[:room]
    [reason] = [event["stopReason"] for event in told if "stopReason" in event]
    assert reason == ("MAX_TOKENS" if len(whole) > room else "END_TURN")


def test_text_comes_word_by_word() -> None:
    assert names([Text("One two\nthree ")]).count("assistantResponseEvent") == 4


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
def test_the_fragments_of_a_call_joined_are_its_input(given_input: dict[str, str]) -> None:
    calls = [payload for name, payload in events([ToolUse("w", given_input)]) if name == "toolUseEvent"]

    assert {(call["toolUseId"], call["name"]) for call in calls} == {(calls[0]["toolUseId"], "w")}
    assert json.loads("".join(call.get("input", "") for call in calls)) == given_input
    assert [call.get("stop", False) for call in calls] == [False] * (len(calls) - 1) + [True]


def test_fragments_are_sent_as_they_are() -> None:
    calls = [
        p for name, p in events([ToolUse("w", id="t1", fragments=["{}", "{"])]) if name == "toolUseEvent"
    ]

    assert [call.get("input") for call in calls] == [None, "{}", "{", None]


def test_no_two_calls_share_an_id() -> None:
    steps = [ToolUse("w"), ToolUse("w")]
    ids = {payload["toolUseId"] for name, payload in events(steps) if name == "toolUseEvent"}
    later = frames(steps, conversation_id="c-1", protocol="rest", input_tokens=101, window=1000)
    ids |= {
        json.loads(frame.payload)["toolUseId"]
        for frame in read(list(later))
        if frame.headers[":event-type"] == "toolUseEvent"
    }

    assert len(ids) == 4
    assert all(id_.startswith("tooluse_") and len(id_) == 30 for id_ in ids)


def test_the_same_steps_are_the_same_bytes() -> None:
    steps = [Reasoning("Hm"), Text("Hello"), ToolUse("w", {"a": [1]})]

    assert output(steps) == output(steps)


def test_reasoning_ends_with_its_signature() -> None:
    made = [
        p
        for name, p in events([Reasoning("Let me see"), Redacted("AAAA")])
        if name == "reasoningContentEvent"
    ]

    assert "".join(payload.get("text", "") for payload in made) == "Let me see"
    assert made[-2:] == [{"signature": sign("Let me see")}, {"redactedContent": "AAAA"}]
    assert ("reasoningContentEvent", {"signature": "mine"}) in events([Reasoning("Hm", "mine")])


def test_a_reply_with_a_call_stops_for_it() -> None:
    closing = dict(events([Text("Now."), ToolUse("w")]))

    assert closing["metadataEvent"]["stopReason"] == "TOOL_USE"


def test_the_tail_says_what_closes_the_reply() -> None:
    assert names([Text("a"), Tail(with_metadata=False, with_context=False)])[-2:] == [
        "assistantResponseEvent",
        "meteringEvent",
    ]
    assert dict(events([Tail(stop_reason="MAX_TOKENS")]))["metadataEvent"]["stopReason"] == "MAX_TOKENS"


def test_any_event_goes_out_as_it_is() -> None:
    assert ("codeEvent", {"content": "x"}) in events([Raw("codeEvent", {"content": "x"})])


def test_a_pause_stands_where_the_script_has_it() -> None:
    made = output([Text("a"), Pause(0.5), Text("b")])

    assert made[2] == Pause(0.5)


@pytest.mark.parametrize(
    "last", [Hang(9), Cut("clean"), Cut("frame"), Cut("reset"), Raise("InternalServerException")], ids=repr
)
def test_nothing_follows_an_end(last: Step) -> None:
    made = output([Text("a"), last, Text("never")])

    whole = b"".join(part for part in made if isinstance(part, bytes))
    assert b"never" not in whole.replace(b"this frame is never", b"")
    assert not any(closing.encode() in whole for closing in CLOSING)


def test_a_cut_inside_a_frame_leaves_bytes_that_are_no_frame() -> None:
    with pytest.raises(FrameCorrupt, match="inside a frame"):
        read(output([Text("a"), Cut("frame")]))


def test_a_reset_breaks_the_connection_and_a_hang_is_silence() -> None:
    assert output([Cut("reset")])[-1] == Break()
    assert output([Hang(9)])[-1] == Pause(9)


def test_a_cut_inside_a_call_withholds_its_end() -> None:
    given_input = {"content": "x" * 100}
    calls = [p for name, p in events([ToolUse("w", given_input), Cut("tool")]) if name == "toolUseEvent"]

    assert not any("stop" in call for call in calls)
    begun = "".join(call.get("input", "") for call in calls)
    assert json.dumps(given_input).startswith(begun)
    assert begun not in ("", json.dumps(given_input))


def test_a_failure_inside_the_stream_tells_type_reason_and_message() -> None:
    exception = read(output([Raise("ThrottlingException", "Slow down.", "R")]))[-1]
    error = read(output([Raise("InternalFailure", "Oh.", framing="error")]))[-1]

    assert exception.headers[":message-type"] == "exception"
    assert exception.headers[":exception-type"] == "ThrottlingException"
    assert json.loads(exception.payload) == {"message": "Slow down.", "reason": "R"}
    assert error.headers == {
        ":message-type": "error",
        ":error-code": "InternalFailure",
        ":error-message": "Oh.",
    }


def test_an_endless_event_comes_again_and_again() -> None:
    made = frames(
        [Endless("ping", {"n": 1}, 0.5)], conversation_id="c", protocol="rest", input_tokens=1, window=10
    )

    first = list(itertools.islice(made, 7))
    assert first[2::2] == [Pause(0.5)] * 3
    assert [event.payload for event in read(first)[1:]] == [b'{"n": 1}'] * 3


def test_a_frame_that_drips_is_never_whole_within_a_test() -> None:
    made = frames([Drip(0.1)], conversation_id="c", protocol="rest", input_tokens=1, window=10)

    drops = list(itertools.islice(made, 1, 2001))
    assert [len(drop) for drop in drops if isinstance(drop, bytes)] == [1] * 1000
    assert drops[1::2] == [Pause(0.1)] * 1000


def test_damage_is_behind_a_sound_frame_or_in_place_of_a_chunk() -> None:
    [_, spoilt] = output([Cut("checksum")])
    assert isinstance(spoilt, Damage)
    assert spoilt.framed
    with pytest.raises(FrameCorrupt) as raised:
        EventStreamDecoder().feed(spoilt.data)
    assert len(raised.value.frames) == 1

    [_, chunk, wait] = output([Cut("chunk")])
    assert isinstance(chunk, Damage)
    assert not chunk.framed
    assert isinstance(wait, Pause)
