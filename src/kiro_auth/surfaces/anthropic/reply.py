"""Write replies of the Anthropic Messages API, streamed or whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw

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
    SearchBegun,
    SearchEnded,
    StopReason,
    TextDelta,
)
from kiro_auth.failures import DEFECT, Failure, TurnFailed
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.metering import metered
from kiro_auth.surfaces.tools.search_blocks import call_block, call_json, citation, result_block
from kiro_auth.surfaces.waiting import final_text

STOP_REASONS: Final[Mapping[StopReason, str]] = {
    "end": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "content_filter": "refusal",
}

_json: Final = msgspec.json.Encoder().encode


def stream_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> AnthropicStream:
    """A writer for one streamed reply; this API has no use for `created`."""
    del created
    return AnthropicStream(conversation, reply_id, input_tokens)


def whole_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> AnthropicWhole:
    """A writer for one whole reply; this API has no use for `created`."""
    del created
    return AnthropicWhole(conversation, reply_id, input_tokens)


def _envelope(conversation: Conversation, reply_id: str, usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": f"msg_{reply_id}",
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _ending(event: Finished) -> dict[str, str | None]:
    return {"stop_reason": STOP_REASONS[event.reason], "stop_sequence": event.stop_sequence}


def _usage(usage: Usage) -> dict[str, Any]:
    """In this API the input count excludes what was read from or written to a cache."""
    read, write = usage.cache_read, usage.cache_write
    counts: dict[str, Any] = {
        "input_tokens": max(0, usage.input.value - (read or 0) - (write or 0)),
        "output_tokens": usage.output.value,
    }
    if read is not None:
        counts["cache_read_input_tokens"] = read
    if write is not None:
        counts["cache_creation_input_tokens"] = write
    if usage.searches:
        counts["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return counts | metered(usage)


class AnthropicStream:
    """Writes one stream: `message_start`, blocks one after another, and one ending.

    A stream that fails before it began is the error alone.
    """

    __slots__ = ("_begun", "_delta", "_index", "_message", "_open", "_out", "_visible")

    def __init__(self, conversation: Conversation, reply_id: str, input_tokens: int) -> None:
        self._visible = conversation.thinking is None or conversation.thinking.visible
        usage = {"input_tokens": input_tokens, "output_tokens": 1}
        self._message = _envelope(conversation, reply_id, usage)
        self._begun = False
        self._index = -1
        self._open: str | None = None  # the kind of the block that is open
        self._delta = b""  # how a text delta of the open block begins
        self._out: list[bytes] = []

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events; the first call also writes the opening."""
        if not self._begun and events:
            self._begun = True
            if not isinstance(events[0], Failed):
                self._start()
        for event in events:
            if isinstance(event, TextDelta):  # nearly all events are
                if self._open != "text":
                    self._begin_text()
                self._say(event.text)
            elif isinstance(event, Finished):
                self._finish(event)
            else:
                self._other(event)
        data = b"".join(self._out)
        self._out.clear()
        return data

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""
        return _PING

    # ------------------------------------------------------------------- how an event of the API goes out

    def _send(self, name: str, **data: Any) -> None:
        self._out.append(_event(name, **data))

    def _start(self) -> None:
        message, self._message = self._message, {}  # a stream may be silent for long
        self._send("message_start", message=message)

    def _say(self, text: str) -> None:
        """A `text_delta` of the open block, without building it anew each time."""
        self._out += (self._delta, _json(text), _DELTA_END)

    def _fail(self, failure: Failure) -> None:
        self._end()
        self._out.append(_error(failure))

    # --------------------------------------------------------------------------- which events there are

    def _other(self, event: ReplyEvent) -> None:
        match event:
            case ReasoningDelta(text) if self._visible:
                self._reason()
                self._change("thinking_delta", "thinking", text)
            case ReasoningSigned(signature):
                self._reason()
                self._change("signature_delta", "signature", signature)
                self._end()
            case ReasoningRedacted(data):
                self._begin("redacted", {"type": "redacted_thinking", "data": data})
                self._end()
            case Citation() if self._open == "text":
                self._change("citations_delta", "citation", citation(event))
            case CallReady(id_, name, arguments):
                self._begin("call", {"type": "tool_use", "id": id_, "name": name, "input": {}})
                self._change("input_json_delta", "partial_json", arguments)
                self._end()
            case SearchBegun():
                self._begin("call", call_block(event))
                self._change("input_json_delta", "partial_json", call_json(event))
                self._end()
            case SearchEnded():
                self._begin("result", result_block(event))
                self._end()
            case Failed(failure):
                self._fail(failure)
            case _:
                pass

    def _reason(self) -> None:
        if self._open != "thinking":
            self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _begin(self, kind: str, block: Mapping[str, Any]) -> None:
        self._next(kind)
        self._send("content_block_start", index=self._index, content_block=block)

    def _begin_text(self) -> None:
        self._next("text")
        begins, self._delta = _text_of(self._index)
        self._out.append(begins)

    def _next(self, kind: str) -> None:
        self._end()
        self._open = kind
        self._index += 1

    def _change(self, kind: str, field: str, value: Any) -> None:
        self._send("content_block_delta", index=self._index, delta={"type": kind, field: value})

    def _end(self) -> None:
        if self._open is not None:
            self._out.append(_stop_of(self._index))
            self._open = None

    def _finish(self, event: Finished) -> None:
        self._end()
        self._send("message_delta", delta=_ending(event), usage=_usage(event.usage))
        self._out.append(_STOP)


class AnthropicWhole(AnthropicStream):
    """Writes one whole reply: the message that a client makes of the stream's events, once it is complete.

    `encode` gives nothing before that, and raises TurnFailed for a reply that failed.
    """

    def __init__(self, conversation: Conversation, reply_id: str, input_tokens: int) -> None:
        super().__init__(conversation, reply_id, input_tokens)
        self._pieces: list[str] = []  # of the open block's text

    def _start(self) -> None:
        pass

    def _send(self, name: str, **data: Any) -> None:
        content = self._message["content"]
        match name:
            case "content_block_start":
                content.append(dict(data["content_block"]))
            case "content_block_delta":
                self._add(content[-1], data["delta"])
            case _:
                pass

    def _begin_text(self) -> None:
        self._begin("text", {"type": "text", "text": ""})

    def _end(self) -> None:
        if self._pieces:
            self._message["content"][-1][self._open] = "".join(self._pieces)
            self._pieces.clear()
        self._open = None

    def _finish(self, event: Finished) -> None:
        self._end()
        self._message.update(_ending(event), usage=_usage(event.usage))
        self._out.append(_json(self._message))

    def _say(self, text: str) -> None:
        self._pieces.append(text)

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        match delta["type"]:
            case "thinking_delta":
                self._pieces.append(delta["thinking"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block.setdefault("citations", []).append(delta["citation"])
            case "input_json_delta":
                # As the model wrote it: it was checked to be an object when it was read.
                block["input"] = Raw(delta["partial_json"].encode())

    def _fail(self, failure: Failure) -> None:
        raise TurnFailed(failure)


_DELTA_END: Final = b"}}\n\n"


@lru_cache(maxsize=64)
def _text_of(index: int) -> tuple[bytes, bytes]:
    """The start of a block of text, and how its deltas begin: the same for all streams."""
    block = {"type": "text", "text": ""}
    return _event("content_block_start", index=index, content_block=block), (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"text_delta","text":' % index
    )


@lru_cache(maxsize=64)
def _stop_of(index: int) -> bytes:
    """The end of a block."""
    return _event("content_block_stop", index=index)


def _event(name: str, **data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _json({"type": name, **data}))


def _error(failure: Failure) -> bytes:
    """The event of a failure.

    Seen with OpenCode 1.18.34: both types stop at once; `overloaded_error` repeats the request six times and
    shows the text so far as often.  OpenCode 2.x repeats it after `api_error` as long as nothing was said,
    and stops at the other (packages/core/src/session/runner/retry.ts, 092a1e7d).
    """
    kind = "api_error" if failure.entry.passing else "invalid_request_error"
    return _event("error", error={"type": kind, "message": final_text(failure)})


_STOP: Final = _event("message_stop")
LAST_WORDS: Final = _error(DEFECT)
"""See `Surface`."""
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
