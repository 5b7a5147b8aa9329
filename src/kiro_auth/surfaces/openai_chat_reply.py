"""Write replies of the OpenAI Chat Completions API, streamed or whole.

Reasoning goes out as `reasoning_content`, the field that OpenAI-compatible clients read and send back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Failed,
    Finished,
    ReasoningDelta,
    ReplyEvent,
    StopReason,
    TextDelta,
    Usage,
)
from kiro_auth.failures import TurnFailed
from kiro_auth.surfaces.openai_custom_tools import custom_names, free_text
from kiro_auth.surfaces.openai_errors import stream_error

FINISH_REASONS: Final[Mapping[StopReason, str]] = {
    "end": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "stop_sequence": "stop",
    "content_filter": "content_filter",
}

_json: Final = msgspec.json.Encoder().encode


def stream_encoder(
    conversation: Conversation, *, reply_id: str, created: int, input_tokens: int
) -> ChatStream:
    """A writer for one streamed reply; this API says what went in at its end only."""
    del input_tokens
    return ChatStream(conversation, reply_id, created)


def encode_reply(
    conversation: Conversation, events: Sequence[ReplyEvent], *, reply_id: str, created: int
) -> bytes:
    """The whole reply as one JSON body.  A reply that failed raises TurnFailed."""
    last = events[-1]
    if isinstance(last, Failed):
        raise TurnFailed(last.failure)
    assert isinstance(last, Finished), "a reply ends with Finished or Failed"
    choice = {
        "index": 0,
        "message": _message(conversation, events),
        "finish_reason": FINISH_REASONS[last.reason],
        "logprobs": None,
    }
    return _json(
        {
            **_envelope(conversation, "chat.completion", reply_id, created),
            "choices": [choice],
            "usage": _usage(last.usage),
        }
    )


def _envelope(conversation: Conversation, kind: str, reply_id: str, created: int) -> dict[str, Any]:
    return {"id": f"chatcmpl-{reply_id}", "object": kind, "created": created, "model": conversation.model}


def _message(conversation: Conversation, events: Sequence[ReplyEvent]) -> dict[str, Any]:
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    calls = [event for event in events if isinstance(event, CallReady)]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if _reasons_visibly(conversation):
        reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
        message |= {"reasoning_content": reasoning} if reasoning else {}
    if calls:
        custom = custom_names(conversation)
        message["tool_calls"] = [_call(call, custom) for call in calls]
    if annotations := [*_annotations(events)]:
        message["annotations"] = annotations
    return message


def _call(call: CallReady, custom: frozenset[str]) -> dict[str, Any]:
    if call.name in custom:
        text = free_text(call.arguments)
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _annotations(events: Sequence[ReplyEvent]) -> Iterator[dict[str, Any]]:
    length = 0
    for event in events:
        if isinstance(event, TextDelta):
            length += len(event.text)
        elif isinstance(event, Citation):
            yield _annotation(event, length)


def _annotation(source: Citation, length: int) -> dict[str, Any]:
    """A source of the answer's `length` characters so far, or of those that the service named."""
    place = {
        "start_index": 0 if source.start is None else source.start,
        "end_index": length if source.end is None else source.end,
    }
    return {"type": "url_citation", "url_citation": {"url": source.url, "title": source.title, **place}}


def _reasons_visibly(conversation: Conversation) -> bool:
    return conversation.thinking is None or conversation.thinking.visible


def _usage(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input.value,
        "completion_tokens": usage.output.value,
        "total_tokens": usage.input.value + usage.output.value,
    }
    if usage.cache_read is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
    return counts


class ChatStream:
    """Writes one stream of chunks: deltas, the reason of the end, the usage if asked for, `[DONE]`.

    A reply that breaks off ends with an error object and without `[DONE]`, so that no client takes what
    came for the whole.
    """

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        self._visible = _reasons_visibly(conversation)
        self._custom = custom_names(conversation)
        self._usage_wanted = conversation.usage_in_stream
        self._envelope = _envelope(conversation, "chat.completion.chunk", reply_id, created)
        head = b"data: " + _json(self._envelope)[:-1] + b',"choices":[{"index":0,"delta":'
        self._text = head + b'{"content":'
        self._head = head
        self._begun = False
        self._calls = 0
        self._length = 0  # of the answer so far, in characters

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events; the first call also writes the opening."""
        out: list[bytes] = []
        if not self._begun and events:
            self._begun = True
            if not isinstance(events[0], Failed):
                out += self._delta({"role": "assistant", "content": ""})
        for event in events:
            if isinstance(event, TextDelta):  # nearly all events are
                self._length += len(event.text)
                out += (self._text, _json(event.text), _DELTA_END)
            else:
                self._other(out, event)
        return b"".join(out)

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""
        return b": ping\n\n"

    def _other(self, out: list[bytes], event: ReplyEvent) -> None:
        match event:
            case ReasoningDelta(text) if self._visible:
                out += self._delta({"reasoning_content": text})
            case Citation():
                out += self._delta({"annotations": [_annotation(event, self._length)]})
            case CallReady():
                out += self._delta({"tool_calls": [{"index": self._calls, **_call(event, self._custom)}]})
                self._calls += 1
            case Finished(reason, usage):
                out += (self._head, b'{},"finish_reason":', _json(FINISH_REASONS[reason]), b"}]}\n\n")
                if self._usage_wanted:
                    last = {**self._envelope, "choices": [], "usage": _usage(usage)}
                    out += (b"data: ", _json(last), b"\n\n")
                out.append(b"data: [DONE]\n\n")
            case Failed(failure):
                out += (b"data: ", stream_error(failure), b"\n\n")
            case _:
                pass

    def _delta(self, delta: Mapping[str, Any]) -> tuple[bytes, bytes, bytes]:
        return self._head, _json(delta), b',"finish_reason":null}]}\n\n'


_DELTA_END: Final = b'},"finish_reason":null}]}\n\n'
