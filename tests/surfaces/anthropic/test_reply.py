"""Replies of the Anthropic Messages API: streamed and whole, and as the official SDK reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    ReplyEvent,
    StopReason,
    TextDelta,
    Thinking,
)
from kiro_auth.failures import CATALOGUE, Failure, TurnFailed
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.anthropic import messages as anthropic
from support.sdks import anthropic as sdk

VISIBLE = Conversation(model="claude-sonnet-4.6", messages=())
HIDDEN = Conversation(model="claude-sonnet-4.6", messages=(), thinking=Thinking(visible=False))
USAGE = Usage(Figure(100, "measured"), Figure(20, "measured"))
END = Finished("end", USAGE)
CUT = Failed(Failure(code="KA-CUT", message="The reply broke off."), USAGE)
BROKEN = Failed(Failure(code="KA-BODY", message="Refused, 500 internal error."), USAGE)


def wire(
    conversation: Conversation, *batches: list[ReplyEvent], input_tokens: int = 90, reply_id: str = "ab12"
) -> bytes:
    stream = anthropic.stream_encoder(conversation, reply_id=reply_id, created=0, input_tokens=input_tokens)
    return b"".join(stream.encode(batch) for batch in batches)


def parsed(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked to be named as its data says."""
    assert data.endswith(b"\n\n")
    found = []
    for event in data.decode().removesuffix("\n\n").split("\n\n"):
        name, line = event.split("\n")
        found.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def streamed(conversation: Conversation, *events: ReplyEvent) -> list[dict[str, Any]]:
    return parsed(wire(conversation, list(events)))


def whole(conversation: Conversation, *events: ReplyEvent) -> dict[str, Any]:
    writer = anthropic.whole_encoder(conversation, reply_id="ab12", created=0, input_tokens=1)
    return json.loads(writer.encode(events))


def put_together(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream tells, by the API's published rules."""
    message = events[0]["message"]
    calls: dict[int, str] = {}
    for event in events[1:]:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert index == len(message["content"]), "blocks are numbered from 0"
                message["content"].append(block)
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                assert index == len(message["content"]) - 1, "changes go to the open block"
                block = message["content"][index]
                match delta:
                    case {"type": "text_delta", "text": text}:
                        block["text"] += text
                    case {"type": "thinking_delta", "thinking": text}:
                        block["thinking"] += text
                    case {"type": "signature_delta", "signature": signature}:
                        block["signature"] += signature
                    case {"type": "citations_delta", "citation": citation}:
                        block.setdefault("citations", []).append(citation)
                    case {"type": "input_json_delta", "partial_json": part}:
                        calls[index] = calls.get(index, "") + part
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                message |= delta
                message["usage"] |= usage
    for index, arguments in calls.items():
        message["content"][index]["input"] = json.loads(arguments)
    return message


# ------------------------------------------------------------------------------------------ the laws

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
output = st.one_of(
    st.builds(TextDelta, words),
    st.builds(ReasoningDelta, words),
    st.builds(ReasoningSigned, words),
    st.builds(ReasoningRedacted, st.just("QUJD")),
    st.builds(CallReady, st.just("t1"), words, st.sampled_from(["{}", '{"a": [1, "é"]}'])),
    st.builds(Citation, words, words),
)
counts = st.integers(0, 500)
usages = st.builds(
    Usage,
    input=st.builds(Figure, counts, st.just("measured")),
    output=st.builds(Figure, counts, st.just("measured")),
    cache_read=st.none() | counts,
    cache_write=st.none() | counts,
)
reasons = st.sampled_from(["end", "tool_calls", "length", "stop_sequence", "content_filter"])
endings = st.builds(Finished, reasons, usages, st.none() | words)
conversations = st.sampled_from([VISIBLE, HIDDEN])


@given(conversations, st.lists(output, max_size=12), endings | st.sampled_from([CUT, BROKEN]))
def test_every_stream_is_well_formed(
    conversation: Conversation, events: list[ReplyEvent], ending: ReplyEvent
) -> None:
    """Blocks open and close one after another, numbered from 0, and there is one ending."""
    stream = streamed(conversation, *events, ending)
    kinds = [event["type"] for event in stream]

    if isinstance(ending, Failed):
        assert kinds.pop() == "error"
    else:
        assert [kinds.pop(), kinds.pop()] == ["message_stop", "message_delta"]
    assert ("message_start" in kinds) == bool(events or isinstance(ending, Finished))
    opened = closed = 0
    for event in stream[: len(kinds)]:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == opened == closed
                opened += 1
            case "content_block_delta":
                assert event["index"] == closed < opened
            case "content_block_stop":
                assert event["index"] == closed < opened
                closed += 1
            case other:
                assert (other, opened) == ("message_start", 0)
    assert opened == closed


@given(conversations, st.lists(output, max_size=12), endings)
def test_a_stream_and_a_whole_reply_say_the_same(
    conversation: Conversation, events: list[ReplyEvent], ending: Finished
) -> None:
    told = put_together(streamed(conversation, *events, ending))

    assert told == whole(conversation, *events, ending)


@given(conversations, st.lists(output, max_size=8), endings, st.data())
def test_a_stream_does_not_depend_on_how_events_are_grouped(
    conversation: Conversation, events: list[ReplyEvent], ending: Finished, data: st.DataObject
) -> None:
    events = [*events, ending]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]

    assert wire(conversation, *batches) == wire(conversation, events)


@given(conversations, st.lists(output, max_size=8), endings)
def test_reasoning_that_is_not_wanted_is_not_shown(
    conversation: Conversation, events: list[ReplyEvent], ending: Finished
) -> None:
    """Its signature is, since the service wants it back; unsigned it would be an empty block."""
    blocks = whole(HIDDEN, *events, ending)["content"]

    for block in blocks:
        assert block["type"] != "thinking" or (block["thinking"] == "" and block["signature"])
    signatures = [event.signature for event in events if isinstance(event, ReasoningSigned)]
    assert [block["signature"] for block in blocks if block["type"] == "thinking"] == signatures


# ----------------------------------------------------------------------------------------- the facts


def test_a_whole_turn_event_by_event() -> None:
    stream = streamed(
        VISIBLE,
        ReasoningDelta("Hm."),
        ReasoningSigned("c2ln"),
        TextDelta("One"),
        TextDelta(" two"),
        CallReady("t1", "write", '{"a":1}'),
        Finished("tool_calls", USAGE),
    )

    start = {"id": "msg_ab12", "type": "message", "role": "assistant", "model": "claude-sonnet-4.6"}
    start |= {"content": [], "stop_reason": None, "stop_sequence": None}
    start |= {"usage": {"input_tokens": 90, "output_tokens": 1}}
    assert stream == [
        {"type": "message_start", "message": start},
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}),
        change(0, type="thinking_delta", thinking="Hm."),
        change(0, type="signature_delta", signature="c2ln"),
        {"type": "content_block_stop", "index": 0},
        *block(1, {"type": "text", "text": ""}),
        change(1, type="text_delta", text="One"),
        change(1, type="text_delta", text=" two"),
        {"type": "content_block_stop", "index": 1},
        *block(2, {"type": "tool_use", "id": "t1", "name": "write", "input": {}}),
        change(2, type="input_json_delta", partial_json='{"a":1}'),
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"input_tokens": 100, "output_tokens": 20},
        },
        {"type": "message_stop"},
    ]


def block(index: int, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": index, "content_block": content}


def change(index: int, **delta: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


REASONS: list[tuple[StopReason, str]] = [
    ("end", "end_turn"),
    ("tool_calls", "tool_use"),
    ("length", "max_tokens"),
    ("stop_sequence", "stop_sequence"),
    ("content_filter", "refusal"),
]


@pytest.mark.parametrize(("reason", "word"), REASONS, ids=[word for _, word in REASONS])
def test_why_a_reply_ended(reason: StopReason, word: str) -> None:
    reply = whole(VISIBLE, TextDelta("x"), Finished(reason, USAGE, "END"))

    assert (reply["stop_reason"], reply["stop_sequence"]) == (word, "END")


FIGURES = [
    pytest.param(None, None, {"input_tokens": 100}, id="the service said nothing of a cache"),
    pytest.param(
        40,
        10,
        {"input_tokens": 50, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10},
        id="read and written",
    ),
    pytest.param(0, None, {"input_tokens": 100, "cache_read_input_tokens": 0}, id="nothing was read"),
    pytest.param(
        130, None, {"input_tokens": 0, "cache_read_input_tokens": 130}, id="more read than there is"
    ),
]


@pytest.mark.parametrize(("read", "write", "counts"), FIGURES)
def test_input_excludes_what_the_cache_had(
    read: int | None, write: int | None, counts: dict[str, int]
) -> None:
    usage = Usage(Figure(100, "measured"), Figure(20, "measured"), cache_read=read, cache_write=write)

    assert whole(VISIBLE, TextDelta("x"), Finished("end", usage))["usage"] == {
        **counts,
        "output_tokens": 20,
    }


def failure(code: str) -> Failed:
    return Failed(Failure(code=code, message="Refused: rate limit, 500.", next_step="Wait."), USAGE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_failure_in_the_middle_stops_clients_without_a_repeat(code: str) -> None:
    last = streamed(VISIBLE, TextDelta("x"), failure(code))[-1]

    assert last["error"]["type"] == ("api_error" if CATALOGUE[code].passing else "invalid_request_error")
    assert last["error"]["message"].endswith(f"Refused: limit of pace, 5·0·0 ({code}). Wait.")
    assert last["error"]["message"].startswith("prompt is too long: ") == (code == "KA-OVERFLOW")


def test_a_stream_that_fails_before_it_began_is_the_error_alone() -> None:
    assert [event["type"] for event in streamed(VISIBLE, CUT)] == ["error"]


def test_a_failure_closes_the_open_block() -> None:
    kinds = [event["type"] for event in streamed(VISIBLE, TextDelta("x"), CUT)]

    assert kinds[-2:] == ["content_block_stop", "error"]


def test_a_whole_reply_that_failed_is_a_failure() -> None:
    with pytest.raises(TurnFailed) as failed:
        whole(VISIBLE, TextDelta("x"), CUT)

    assert failed.value.failure is CUT.failure


def test_a_ping_means_nothing() -> None:
    stream = anthropic.stream_encoder(VISIBLE, reply_id="1", created=0, input_tokens=1)

    assert parsed(stream.ping()) == [{"type": "ping"}]


# ------------------------------------------------------------------------------------- the official SDK


@asynccontextmanager
async def client_of(body: bytes, content_type: str, status: int = 200) -> AsyncIterator[Any]:
    """The SDK, connected to a server that gives one answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type=content_type)

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    async with (
        TestServer(app) as server,
        sdk().AsyncAnthropic(base_url=str(server.make_url("/")), api_key="k", max_retries=0) as client,
    ):
        yield client


ASKED: dict[str, Any] = {
    "model": "claude-sonnet-4.6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}
TURN: list[ReplyEvent] = [
    ReasoningDelta("Let me "),
    ReasoningDelta("see."),
    ReasoningSigned("c2ln"),
    ReasoningRedacted("QUJD"),
    TextDelta("Größe: "),
    TextDelta("「4」\n\ndata: x"),
    CallReady("t1", "write", '{"path":"/x","lines":["a","é"]}'),
    CallReady("t2", "read", "{}"),
    Finished("tool_calls", Usage(Figure(100, "measured"), Figure(20, "measured"), 40, 10)),
]


@pytest.mark.parametrize("conversation", [VISIBLE, HIDDEN], ids=["visible", "hidden"])
@pytest.mark.outside
async def test_the_sdk_reads_the_same_from_a_stream_as_from_a_whole_reply(conversation: Conversation) -> None:
    writer = anthropic.whole_encoder(conversation, reply_id="ab12", created=0, input_tokens=1)
    body = writer.encode(TURN)
    async with client_of(body, "application/json") as client:
        from_whole = await client.messages.create(**ASKED)

    streaming = client_of(wire(conversation, TURN), "text/event-stream")
    async with streaming as client, client.messages.stream(**ASKED) as stream:
        from_stream = await stream.get_final_message()

    assert from_stream.model_dump(exclude_none=True) == from_whole.model_dump(exclude_none=True)
    assert [block.type for block in from_whole.content] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert from_whole.content[2].text == "Größe: 「4」\n\ndata: x"
    assert from_whole.content[3].input == {"path": "/x", "lines": ["a", "é"]}
    assert (from_whole.usage.input_tokens, from_whole.usage.cache_read_input_tokens) == (50, 40)


@pytest.mark.outside
async def test_the_sdk_raises_what_broke_a_stream() -> None:
    data = wire(VISIBLE, [TextDelta("x"), CUT])
    async with client_of(data, "text/event-stream") as client, client.messages.stream(**ASKED) as stream:
        with pytest.raises(sdk().APIStatusError, match="The reply broke off"):
            await stream.get_final_message()


@pytest.mark.outside
async def test_the_sdk_raises_its_own_error_for_a_failure() -> None:
    answer = anthropic.encode_failure(Failure(code="KA-MODEL", message="No such model."))
    async with client_of(answer.body, "application/json", answer.status) as client:
        with pytest.raises(sdk().NotFoundError, match="No such model"):
            await client.messages.create(**ASKED)
