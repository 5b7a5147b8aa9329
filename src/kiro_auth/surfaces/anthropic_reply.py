"""Write replies of the Anthropic Messages API, streamed or whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    StopReason,
    TextDelta,
    Usage,
)
from kiro_auth.failures import Failure, TurnFailed
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


def encode_reply(
    conversation: Conversation, events: Sequence[ReplyEvent], *, reply_id: str, created: int
) -> bytes:
    """The whole reply as one JSON body.  A reply that failed raises TurnFailed."""
    del created
    last = events[-1]
    if isinstance(last, Failed):
        raise TurnFailed(last.failure)
    assert isinstance(last, Finished), "a reply ends with Finished or Failed"
    body = _envelope(conversation, reply_id, _usage(last.usage))
    body["content"] = _content(conversation, events)
    body["stop_reason"] = STOP_REASONS[last.reason]
    body["stop_sequence"] = last.stop_sequence
    return _json(body)


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


def _usage(usage: Usage) -> dict[str, int]:
    """In this API the input count excludes what was read from or written to a cache."""
    read, write = usage.cache_read, usage.cache_write
    counts = {
        "input_tokens": max(0, usage.input.value - (read or 0) - (write or 0)),
        "output_tokens": usage.output.value,
    }
    if read is not None:
        counts["cache_read_input_tokens"] = read
    if write is not None:
        counts["cache_creation_input_tokens"] = write
    return counts


def _reasons_visibly(conversation: Conversation) -> bool:
    return conversation.thinking is None or conversation.thinking.visible


def _content(conversation: Conversation, events: Sequence[ReplyEvent]) -> list[dict[str, Any]]:
    """The blocks of a whole reply."""
    visible = _reasons_visibly(conversation)
    blocks: list[dict[str, Any]] = []

    def block(kind: str, **fields: Any) -> dict[str, Any]:
        if not blocks or blocks[-1]["type"] != kind or (kind == "thinking" and blocks[-1]["signature"]):
            blocks.append({"type": kind, **fields})
        return blocks[-1]

    for event in events:
        match event:
            case TextDelta(text):
                block("text", text="")["text"] += text
            case Citation() if blocks and blocks[-1]["type"] == "text":
                blocks[-1].setdefault("citations", []).append(_citation(event))
            case ReasoningDelta(text) if visible:
                block("thinking", thinking="", signature="")["thinking"] += text
            case ReasoningSigned(signature):
                block("thinking", thinking="", signature="")["signature"] = signature
            case ReasoningRedacted(data):
                blocks.append({"type": "redacted_thinking", "data": data})
            case CallReady(id_, name, arguments):
                # As the model wrote it: it was checked to be an object when it was read.
                call = {"type": "tool_use", "id": id_, "name": name, "input": Raw(arguments.encode())}
                blocks.append(call)
            case _:
                pass
    return blocks


def _citation(source: Citation) -> dict[str, Any]:
    """A page of the web; which words it stands for, and Anthropic's own index of it, Kiro does not say."""
    return {
        "type": "web_search_result_location",
        "url": source.url,
        "title": source.title,
        "cited_text": "",
        "encrypted_index": "",
    }


class AnthropicStream:
    """Writes one stream: `message_start`, blocks one after another, and one ending.

    A stream that fails before it began is the error alone.
    """

    def __init__(self, conversation: Conversation, reply_id: str, input_tokens: int) -> None:
        self._visible = _reasons_visibly(conversation)
        usage = {"input_tokens": input_tokens, "output_tokens": 1}
        start = {"type": "message_start", "message": _envelope(conversation, reply_id, usage)}
        self._start = _sse("message_start", start)  # empty once the stream began
        self._index = -1
        self._open: str | None = None  # the kind of the block that is open
        self._delta = b""  # how a text delta of the open block begins

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events; the first call also writes the opening."""
        out: list[bytes] = []
        if self._start and events:
            if not isinstance(events[0], Failed):
                out.append(self._start)
            self._start = b""
        for event in events:
            if isinstance(event, TextDelta):  # nearly all events are
                if self._open != "text":
                    self._begin(out, "text", {"type": "text", "text": ""})
                out += (self._delta, _json(event.text), _DELTA_END)
            else:
                self._other(out, event)
        return b"".join(out)

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""
        return _PING

    def _other(self, out: list[bytes], event: ReplyEvent) -> None:
        match event:
            case ReasoningDelta(text) if self._visible:
                self._reason(out)
                out.append(self._change("thinking_delta", "thinking", text))
            case ReasoningSigned(signature):
                self._reason(out)
                out.append(self._change("signature_delta", "signature", signature))
                self._end(out)
            case ReasoningRedacted(data):
                self._begin(out, "redacted", {"type": "redacted_thinking", "data": data})
                self._end(out)
            case Citation() if self._open == "text":
                out.append(self._change("citations_delta", "citation", _citation(event)))
            case CallReady(id_, name, arguments):
                self._begin(out, "call", {"type": "tool_use", "id": id_, "name": name, "input": {}})
                out.append(self._change("input_json_delta", "partial_json", arguments))
                self._end(out)
            case Finished():
                self._finish(out, event)
            case Failed(failure):
                self._fail(out, failure)
            case _:
                pass

    def _reason(self, out: list[bytes]) -> None:
        if self._open != "thinking":
            self._begin(out, "thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _begin(self, out: list[bytes], kind: str, block: Mapping[str, Any]) -> None:
        self._end(out)
        self._open = kind
        self._index += 1
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        out.append(_sse("content_block_start", start))
        if kind == "text":
            self._delta = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"text_delta","text":' % self._index
            )

    def _change(self, kind: str, field: str, value: Any) -> bytes:
        delta = {"type": kind, field: value}
        return _sse(
            "content_block_delta", {"type": "content_block_delta", "index": self._index, "delta": delta}
        )

    def _end(self, out: list[bytes]) -> None:
        if self._open is not None:
            out.append(_sse("content_block_stop", {"type": "content_block_stop", "index": self._index}))
            self._open = None

    def _finish(self, out: list[bytes], event: Finished) -> None:
        self._end(out)
        delta = {"stop_reason": STOP_REASONS[event.reason], "stop_sequence": event.stop_sequence}
        out.append(
            _sse("message_delta", {"type": "message_delta", "delta": delta, "usage": _usage(event.usage)})
        )
        out.append(_sse("message_stop", {"type": "message_stop"}))

    def _fail(self, out: list[bytes], failure: Failure) -> None:
        self._end(out)
        # Seen with OpenCode 1.18.34: both types stop at once; `overloaded_error` repeats the request six
        # times and shows the text so far as often.  OpenCode 2.x repeats it after `api_error` as long as
        # nothing was said, and stops at the other (packages/core/src/session/runner/retry.ts, 092a1e7d).
        kind = "api_error" if failure.entry.passing else "invalid_request_error"
        error = {"type": kind, "message": final_text(failure)}
        out.append(_sse("error", {"type": "error", "error": error}))


_DELTA_END: Final = b"}}\n\n"
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


def _sse(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _json(data))
