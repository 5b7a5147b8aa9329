"""Write replies of the OpenAI Chat Completions API, streamed or whole.

Reasoning goes out as `reasoning_content`, the field that OpenAI-compatible clients read and send back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    SearchBegun,
    SearchEnded,
    StopReason,
    TextDelta,
)
from kiro_auth.failures import DEFECT, Failure, TurnFailed
from kiro_auth.reply_usage import Usage
from kiro_auth.surfaces.metering import metered
from kiro_auth.surfaces.openai.custom_tools import custom_names, free_text
from kiro_auth.surfaces.openai.errors import stream_error

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


def whole_encoder(conversation: Conversation, *, reply_id: str, created: int, input_tokens: int) -> ChatWhole:
    """A writer for one whole reply; this API says what went in at its end only."""
    del input_tokens
    return ChatWhole(conversation, reply_id, created)


def _envelope(conversation: Conversation, reply_id: str, created: int) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{reply_id}",
        "object": "chat.completion.chunk",
        "created": created,
        "model": conversation.model,
    }


def _call(call: CallReady, custom: frozenset[str]) -> dict[str, Any]:
    if call.name in custom:
        text = free_text(call.arguments)
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _annotation(source: Citation, base: int, length: int) -> dict[str, Any]:
    """A source of the answer's `length` characters so far, or of those it names, counted from `base`."""
    place = {
        "start_index": 0 if source.start is None else base + source.start,
        "end_index": length if source.end is None else base + source.end,
    }
    return {"type": "url_citation", "url_citation": {"url": source.url, "title": source.title, **place}}


def _usage(usage: Usage) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "prompt_tokens": usage.input.value,
        "completion_tokens": usage.output.value,
        "total_tokens": usage.input.value + usage.output.value,
    }
    if usage.cache_read is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cache_read}
    return counts | metered(usage)


class ChatStream:
    """Writes one stream of chunks: deltas, the reason of the end, the usage if asked for, `[DONE]`.

    A reply that breaks off ends with an error object and without `[DONE]`, so that no client takes what
    came for the whole.
    """

    __slots__ = (
        *("_base", "_begun", "_calls", "_custom", "_envelope", "_head", "_length", "_out", "_parted"),
        *("_usage_wanted", "_visible"),
    )

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        self._visible = conversation.thinking is None or conversation.thinking.visible
        self._custom = custom_names(conversation)
        self._usage_wanted = conversation.usage_in_stream
        self._envelope = _envelope(conversation, reply_id, created)
        self._head = b"data: " + _json(self._envelope)[:-1] + b',"choices":[{"index":0,"delta":'
        self._begun = False
        self._calls = 0
        self._length = 0  # of the answer so far, in characters
        self._base = 0  # where the text begins that is being written
        self._parted = 0  # where the last paragraph of ours ends
        self._out: list[bytes] = []

    def encode(self, events: Sequence[ReplyEvent]) -> bytes:
        """The bytes for these events; the first call also writes the opening."""
        if not self._begun and events:
            self._begun = True
            if not isinstance(events[0], Failed):
                self._delta(role="assistant", content="")
        for event in events:
            if isinstance(event, TextDelta):  # nearly all events are
                self._length += len(event.text)
                self._say(event.text)
            else:
                self._other(event)
        data = b"".join(self._out)
        self._out.clear()
        return data

    def ping(self) -> bytes:
        """Bytes that keep the line alive and mean nothing."""
        return b": ping\n\n"

    def _other(self, event: ReplyEvent) -> None:
        if not isinstance(event, Citation):
            self._base = self._length
        match event:
            case ReasoningDelta(text) if self._visible:
                self._delta(reasoning_content=text)
            case Citation():
                self._delta(annotations=[_annotation(event, self._base, self._length)])
            case SearchBegun():
                self._part()
            case SearchEnded(fault=fault):
                self._part()
                if fault is not None:  # this API has no other place for it
                    self._note(f"[The web was not searched: {fault}.]\n\n")
            case CallReady():
                self._delta(tool_calls=[{"index": self._calls, **_call(event, self._custom)}])
                self._calls += 1
            case Finished(reason, usage):
                self._finish(FINISH_REASONS[reason], _usage(usage))
            case Failed(failure):
                self._fail(failure)
            case _:
                pass

    # -------------------------------------------------------------------------------- how a chunk goes out

    def _delta(self, **delta: Any) -> None:
        self._out += (self._head, _json(delta), b',"finish_reason":null}]}\n\n')

    def _say(self, text: str) -> None:
        """A delta of `content`, without building it anew each time."""
        self._out += (self._head, b'{"content":', _json(text), _DELTA_END)

    def _note(self, text: str) -> None:
        self._say(text)
        self._length += len(text)
        self._base = self._parted = self._length

    def _part(self) -> None:
        """What follows a search is another paragraph."""
        if self._length > self._parted:
            self._note("\n\n")

    def _finish(self, reason: str, usage: Mapping[str, Any]) -> None:
        self._out += (self._head, b'{},"finish_reason":', _json(reason), b"}]}\n\n")
        if self._usage_wanted:
            self._out += (b"data: ", _json({**self._envelope, "choices": [], "usage": usage}), b"\n\n")
        self._out.append(b"data: [DONE]\n\n")

    def _fail(self, failure: Failure) -> None:
        self._out.append(_error(failure))


class ChatWhole(ChatStream):
    """Writes one whole reply: the message that a client makes of the stream's deltas, once it is complete.

    `encode` gives nothing before that, and raises TurnFailed for a reply that failed.
    """

    def __init__(self, conversation: Conversation, reply_id: str, created: int) -> None:
        super().__init__(conversation, reply_id, created)
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._lists: dict[str, list[dict[str, Any]]] = {"tool_calls": [], "annotations": []}

    def _delta(self, **delta: Any) -> None:
        self._reasoning.append(delta.get("reasoning_content", ""))
        for name, whole in self._lists.items():
            whole += [{k: v for k, v in part.items() if k != "index"} for part in delta.get(name, ())]

    def _say(self, text: str) -> None:
        self._content.append(text)

    def _finish(self, reason: str, usage: Mapping[str, Any]) -> None:
        parts = {"reasoning_content": "".join(self._reasoning), **self._lists}
        message = {
            "role": "assistant",
            "content": "".join(self._content) or None,
            **{name: part for name, part in parts.items() if part},
        }
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        envelope = {**self._envelope, "object": "chat.completion"}
        self._out.append(_json({**envelope, "choices": [choice], "usage": usage}))

    def _fail(self, failure: Failure) -> None:
        raise TurnFailed(failure)


_DELTA_END: Final = b'},"finish_reason":null}]}\n\n'


def _error(failure: Failure) -> bytes:
    return b"data: %b\n\n" % stream_error(failure)


LAST_WORDS: Final = _error(DEFECT)
"""See `Surface`."""
