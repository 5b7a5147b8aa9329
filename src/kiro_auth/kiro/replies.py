"""Read the service's reply: its bytes in, neutral reply events out, however the bytes were cut.

A reply has no closing event of its own; how it ended is judged at the end of the stream, from what was
seen.  The last event is always one `Finished` or one `Failed`, and nothing is ever raised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Failed,
    Figure,
    Finished,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    ReplyEvent,
    StopReason,
    TextDelta,
    Usage,
)
from kiro_auth.failures import Failure
from kiro_auth.kiro.eventstream import EventStreamDecoder, Frame, FrameCorrupt
from kiro_auth.kiro.faults import classify, classify_exception
from kiro_auth.kiro.text_filters import StopFilter, TagFilter

_CHARACTERS_OF_A_TOKEN: Final = 4


class _Text(Struct):
    content: str = ""


class _Reasoning(Struct, rename="camel"):
    text: str = ""
    signature: str = ""
    redacted_content: str = ""


class _ToolUse(Struct, rename="camel"):
    tool_use_id: str
    name: str = ""
    input: Any = ""
    stop: bool = False


class _TokenUsage(Struct, rename="camel"):
    uncached_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    context_usage_percentage: float | None = None


class _Metadata(Struct, rename="camel"):
    token_usage: _TokenUsage | None = None
    stop_reason: str | None = None


class _ContextUsage(Struct, rename="camel"):
    context_usage_percentage: float | None = None


class _Metering(Struct):
    usage: float | None = None


_decode_text: Final = msgspec.json.Decoder(_Text).decode
_decode_reasoning: Final = msgspec.json.Decoder(_Reasoning).decode
_decode_tool_use: Final = msgspec.json.Decoder(_ToolUse).decode
_decode_metadata: Final = msgspec.json.Decoder(_Metadata).decode
_decode_context: Final = msgspec.json.Decoder(_ContextUsage).decode
_decode_metering: Final = msgspec.json.Decoder(_Metering).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_any: Final = msgspec.json.Decoder().decode

_STOP_REASONS: Final[Mapping[str, StopReason]] = {
    "END_TURN": "end",
    "STOP": "end",
    "MAX_TOKENS": "length",
    "LENGTH": "length",
    "MODEL_CONTEXT_WINDOW_EXCEEDED": "length",
    "CONTENT_FILTERED": "content_filter",
}


class _Call(Struct):
    """A tool call under way; its arguments come in pieces."""

    name: str
    parts: list[str]

    def arguments(self) -> str:
        """The JSON text.  Some replies begin with a `{}` that the real pieces replace."""
        parts = self.parts[1:] if len(self.parts) > 1 and self.parts[0] == "{}" else self.parts
        return "".join(parts) or "{}"


class Reader:
    """Reads one reply.

    `tool_names` maps names as sent to the client's own; `context_window` and `input_tokens` (an estimate)
    serve where the service sends no figures; `tag_reasoning`: reasoning may stand in tags at the start.
    `done` is true once the last event was given; everything after that gives nothing.
    """

    def __init__(
        self,
        *,
        tool_names: Mapping[str, str],
        context_window: int,
        input_tokens: int,
        tag_reasoning: bool,
        request_id: str | None,
        stop_sequences: tuple[str, ...] = (),
    ) -> None:
        self.done = False
        self._decoder = EventStreamDecoder()
        self._tool_names = tool_names
        self._context_window = context_window
        self._input_estimate = input_tokens
        self._request_id = request_id
        self._tags = TagFilter() if tag_reasoning else None
        self._stops = StopFilter(stop_sequences) if stop_sequences else None
        self._events: list[ReplyEvent] = []
        self._text: list[str] = []  # deltas of this read that are still to be joined
        self._calls: dict[str, _Call] = {}
        self._characters = 0
        self._spoke = False
        self._called = False
        self._incomplete_call = False
        self._ended_well = False
        self._stop_reason: str | None = None
        self._tokens: _TokenUsage | None = None
        self._context: float | None = None
        self._credits: float | None = None
        self._first_bytes: bytes | None = b""

    # ------------------------------------------------------------------------------------- input

    def feed(self, data: bytes) -> list[ReplyEvent]:
        """The events that these bytes complete."""
        if self.done:
            return []
        if self._first_bytes is not None and self._is_plain_json(data):
            return []
        try:
            frames = self._decoder.feed(data)
        except FrameCorrupt as error:
            return self.broke(_cut(f"The reply is damaged: {error}."))
        for frame in frames:
            if self._take(frame):
                break
        return self._taken()

    def close(self) -> list[ReplyEvent]:
        """The service's stream ended, without a fault of the line."""
        if self.done:
            return []
        if self._first_bytes:
            self._fail(classify(status=None, headers={}, body=self._first_bytes))
            return self._taken()
        try:
            self._decoder.close()
        except FrameCorrupt as error:
            return self.broke(_cut(f"The reply broke off: {error}."))
        self._release_text()
        self._finish()
        return self._taken()

    def broke(self, failure: Failure) -> list[ReplyEvent]:
        """The line broke, for this reason."""
        if self.done:
            return []
        self._release_text()
        self._fail(failure)
        return self._taken()

    def _is_plain_json(self, data: bytes) -> bool:
        """An error may come as bare JSON under a good status; no frame begins with a brace."""
        assert self._first_bytes is not None
        if self._first_bytes or data[:1] == b"{":
            self._first_bytes += data
            return True
        if data:
            self._first_bytes = None
        return False

    # ------------------------------------------------------------------------------------- frames

    def _take(self, frame: Frame) -> bool:
        """Whether the reply is over."""
        headers = frame.headers
        kind = headers.get(":event-type")
        try:
            handler = _HANDLERS.get(kind)  # type: ignore[arg-type]  # any header value may come
            if handler is not None:
                handler(self, frame.payload)
            elif headers.get(":message-type") in ("exception", "error"):
                name = headers.get(":exception-type") or headers.get(":error-code") or ""
                payload = frame.payload or msgspec.json.encode(
                    {"message": f"{headers.get(':error-message', '')!s}"}
                )
                self._release_text()
                self._fail(classify_exception(f"{name!s}", payload, request_id=self._request_id))
        except msgspec.MsgspecError:
            self._release_text()
            self._fail(_cut(f"The service sent a {kind!s} that cannot be read."))
        return self.done

    def _on_text(self, payload: bytes) -> None:
        content = _decode_text(payload).content or _wrapped(payload, "assistantResponseEvent", "content")
        if not content:
            return
        self._spoke = True
        if self._tags is not None:
            for is_reasoning, piece in self._tags.feed(content):
                self._say_reasoning(piece) if is_reasoning else self._say(piece)
        else:
            self._say(content)

    def _on_reasoning(self, payload: bytes) -> None:
        event = _decode_reasoning(payload)
        if self._tags is not None:
            self._release_tags()
        self._spoke = True
        if event.text:
            self._say_reasoning(event.text)
        if event.signature:
            self._add(ReasoningSigned(event.signature))
        if event.redacted_content:
            self._add(ReasoningRedacted(event.redacted_content))

    def _on_tool_use(self, payload: bytes) -> None:
        event = _decode_tool_use(payload)
        self._spoke = True
        call = self._calls.get(event.tool_use_id)
        if call is None:
            call = self._calls[event.tool_use_id] = _Call(event.name, [])
        if event.input not in ("", None):
            text = event.input if isinstance(event.input, str) else msgspec.json.encode(event.input).decode()
            call.parts.append(text)
        if event.stop:
            self._complete(event.tool_use_id, call)

    def _complete(self, call_id: str, call: _Call) -> None:
        del self._calls[call_id]
        arguments = call.arguments()
        self._characters += len(arguments)
        try:
            _decode_object(arguments)
        except msgspec.MsgspecError:
            self._incomplete_call = True  # never run a call whose arguments are not whole
            return
        self._release_text()
        self._called = True
        self._add(CallReady(call_id, self._tool_names.get(call.name, call.name), arguments))

    def _on_metadata(self, payload: bytes) -> None:
        event = _decode_metadata(payload)
        self._ended_well = True
        self._tokens = event.token_usage or self._tokens
        self._stop_reason = event.stop_reason or self._stop_reason

    def _on_context(self, payload: bytes) -> None:
        self._ended_well = True
        self._context = _decode_context(payload).context_usage_percentage

    def _on_metering(self, payload: bytes) -> None:
        self._ended_well = True
        metered = _decode_metering(payload).usage
        if metered is not None:
            self._credits = (self._credits or 0.0) + metered

    def _on_links(self, payload: bytes) -> None:
        for link in _decode_object(payload).get("supplementaryWebLinks") or ():
            if isinstance(link, dict) and isinstance(link.get("url"), str):
                self._add(Citation(link["url"], str(link.get("title") or "")))

    # ------------------------------------------------------------------------------------- output

    def _say(self, text: str) -> None:
        if not text:
            return
        self._characters += len(text)
        if self._stops is None:
            self._text.append(text)
            return
        said, stop = self._stops.feed(text)
        if said:
            self._text.append(said)
        if stop is not None:
            self._join_text()
            self._end(Finished("stop_sequence", self._usage(), stop))

    def _say_reasoning(self, text: str) -> None:
        self._characters += len(text)
        self._add(ReasoningDelta(text))

    def _add(self, event: ReplyEvent) -> None:
        self._join_text()
        self._events.append(event)

    def _join_text(self) -> None:
        if self._text:
            text = self._text[0] if len(self._text) == 1 else "".join(self._text)
            self._events.append(TextDelta(text))
            self._text.clear()

    def _taken(self) -> list[ReplyEvent]:
        if not self.done:
            self._join_text()
        events, self._events = self._events, []
        return events

    def _release_tags(self) -> None:
        if self._tags is not None:
            tags, self._tags = self._tags, None
            for is_reasoning, piece in tags.close():
                self._say_reasoning(piece) if is_reasoning else self._say(piece)

    def _release_text(self) -> None:
        """Give what was held back because a tag or a stop sequence might have begun."""
        self._release_tags()
        if self._stops is not None and not self.done and (held := self._stops.close()):
            self._text.append(held)
        if not self.done:
            self._join_text()

    # ---------------------------------------------------------------------------------- the ending

    def _finish(self) -> None:
        if self.done:
            return
        if not self._spoke:
            if self._stop_reason == "MODEL_CONTEXT_WINDOW_EXCEEDED":
                self._fail(classify_exception("", b'{"reason":"MODEL_CONTEXT_WINDOW_EXCEEDED"}'))
            else:
                self._fail(_cut("The reply was empty."))
            return
        self._end(Finished(self._reason(), self._usage()))

    def _reason(self) -> StopReason:
        named = _STOP_REASONS.get(self._stop_reason or "")
        cut = bool(self._calls) or self._incomplete_call or not self._ended_well
        if cut:
            return "length"
        if named in ("length", "content_filter"):
            return named
        return "tool_calls" if self._called else "end"

    def _fail(self, failure: Failure) -> None:
        if failure.request_id is None and self._request_id is not None:
            failure = msgspec.structs.replace(failure, request_id=self._request_id)
        self._end(Failed(failure, self._usage()))

    def _end(self, event: Finished | Failed) -> None:
        if not self.done:
            self._add(event)
            self.done = True

    def _usage(self) -> Usage:
        tokens = self._tokens or _TokenUsage()
        output = Figure(max(1, self._characters // _CHARACTERS_OF_A_TOKEN), "estimated")
        if tokens.output_tokens is not None:
            output = Figure(tokens.output_tokens, "measured")
        context = self._context if self._context is not None else tokens.context_usage_percentage
        return Usage(
            input=self._input(tokens, context, output.value),
            output=output,
            cache_read=tokens.cache_read_input_tokens,
            cache_write=tokens.cache_write_input_tokens,
            credits=self._credits,
            context_percentage=context,
        )

    def _input(self, tokens: _TokenUsage, context: float | None, output: int) -> Figure:
        if tokens.uncached_input_tokens is not None:
            cached = (tokens.cache_read_input_tokens or 0) + (tokens.cache_write_input_tokens or 0)
            return Figure(max(1, tokens.uncached_input_tokens + cached), "measured")
        if context:
            return Figure(max(1, round(context / 100 * self._context_window) - output), "derived")
        return Figure(max(1, self._input_estimate), "estimated")


_HANDLERS: Final[Mapping[str, Callable[[Reader, bytes], None]]] = {
    "assistantResponseEvent": Reader._on_text,
    "codeEvent": Reader._on_text,
    "reasoningContentEvent": Reader._on_reasoning,
    "toolUseEvent": Reader._on_tool_use,
    "metadataEvent": Reader._on_metadata,
    "contextUsageEvent": Reader._on_context,
    "meteringEvent": Reader._on_metering,
    "supplementaryWebLinksEvent": Reader._on_links,
}
"""What each event does; names that are not here are ignored, because the service adds some now and then."""


def _wrapped(payload: bytes, event: str, name: str) -> str:
    """The text of an event in the older form, where its name is repeated inside the payload."""
    if len(payload) < len(event):
        return ""
    inner = _decode_object(payload).get(event)
    value = inner.get(name) if isinstance(inner, dict) else None
    return value if isinstance(value, str) else ""


def _cut(message: str) -> Failure:
    return Failure(code="KA-CUT", message=message, next_step="Repeat the request.")
