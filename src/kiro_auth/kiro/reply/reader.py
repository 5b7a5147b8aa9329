"""Read the service's reply: its bytes in, neutral reply events out, however the bytes were cut.

A reply has no closing event of its own; how it ended is judged at the end of the stream, from what was
seen.  The last event is always one `Finished` or one `Failed`, and nothing is ever raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiro_auth.conversation import (
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    ReplyEvent,
    StopReason,
    TextDelta,
)
from kiro_auth.failures import Failure
from kiro_auth.kiro import checked
from kiro_auth.kiro.faults import classify, classify_exception
from kiro_auth.kiro.reply.answer_text import AnswerFilter, Expected, Piece
from kiro_auth.kiro.reply.breaks import cut, exception_in, is_exception
from kiro_auth.kiro.reply.citations import cited
from kiro_auth.kiro.reply.decoding import TEXT, UNREADABLE, EventDecoder, decode_text
from kiro_auth.kiro.reply.deltas import Events
from kiro_auth.kiro.reply.endings import BROKEN, OVERFLOW, SILENT, ending
from kiro_auth.kiro.reply.eventstream import EventStreamDecoder, Frame, FrameCorrupt
from kiro_auth.kiro.reply.meter import Meter, size_of
from kiro_auth.kiro.reply.payloads import (
    AnswerText,
    CitationMark,
    ContextUsage,
    DocumentCitation,
    Metadata,
    Metering,
    ReasoningContent,
    ToolUse,
    WebLinks,
)
from kiro_auth.kiro.reply.text_filters import HiddenFilter
from kiro_auth.kiro.reply.tool_calls import ToolCalls
from kiro_auth.reply_usage import Usage

_PLAIN_BYTES: Final = 64 * 1024  # of an answer without framing; what names the error stands at its start
_MOST_BYTES: Final = 128 * 1024 * 1024
"""Of one reply; 128,000 tokens that come one by one are a seventh of it."""
_NOTHING: Final = Expected()


class Reader:
    """Reads one reply.

    `tool_names` maps names as sent to the client's own; `context_window` and `input_tokens` (an estimate)
    serve where the service sends no figures; `expected` is what the answer's text may hold besides it;
    `output_limit`: the most tokens, by our own count, after which the answer is cut.
    `done` is true once the last event was given; everything after that gives nothing.
    """

    __slots__ = (
        *("_called", "_calls", "_decoder", "_events", "_filter", "_hidden", "_meter", "_plain"),
        *("_request_id", "_run", "_size", "_spoke", "_stop_reason", "_told", "done"),
    )

    def __init__(
        self,
        *,
        tool_names: Mapping[str, str],
        context_window: int,
        input_tokens: int,
        request_id: str | None,
        expected: Expected = _NOTHING,
        output_limit: int | None = None,
    ) -> None:
        self.done = False
        self._decoder = EventStreamDecoder()
        self._calls = ToolCalls(tool_names)
        self._meter = Meter(
            context_window=context_window, input_tokens=input_tokens, output_limit=output_limit
        )
        self._request_id = request_id
        self._filter = None if expected == _NOTHING else AnswerFilter(expected)
        self._hidden: HiddenFilter | None = None  # while reasoning comes
        self._events = Events()
        self._spoke = False
        self._called = False
        self._stop_reason = ""
        self._plain: bytes | None = b""  # the start of a reply without framing; None once frames came
        self._size = 0

    @property
    def usage(self) -> Usage:
        """What the reply has used, as far as that is known by now."""
        return self._meter.usage()

    @property
    def given(self) -> int:
        """How often it gave events."""
        return self._events.given

    @property
    def held(self) -> int:
        """Bytes of tool calls that are not given before they are whole."""
        return self._calls.waiting

    # ------------------------------------------------------------------------------------- input

    def feed(self, data: bytes) -> list[ReplyEvent]:
        """The events that these bytes complete."""
        if self.done or (self._plain is not None and self._is_plain(data)):
            return []
        damage: FrameCorrupt | None = None
        frames: Sequence[Frame]
        try:
            frames = self._decoder.feed(data)
        except FrameCorrupt as error:
            frames, damage = error.frames, error
        self._take_all(frames)
        self._size += len(data)
        if damage is not None:
            self._break(cut(f"The reply is damaged: {damage}."))
        elif self._size > _MOST_BYTES:
            self._break(cut("The reply is larger than any that a model writes."))
        return self._events.taken()

    def close(self) -> list[ReplyEvent]:
        """The service's stream ended, without a fault of the line."""
        if self._plain:
            return self.broke(classify(status=None, headers={}, body=self._plain))
        try:
            self._decoder.close()
        except FrameCorrupt as error:
            return self.broke(cut(f"The reply broke off: {error}."))
        self._release()
        if not self.done:
            self._finish()
        return self._events.taken()

    def broke(self, failure: Failure) -> list[ReplyEvent]:
        """The line broke, for this reason."""
        self._break(failure)
        return self._events.taken()

    def _is_plain(self, data: bytes) -> bool:
        """An error may come as bare JSON under a good status; no frame begins with a brace."""
        if self._plain or data[:1] == b"{":
            self._plain = ((self._plain or b"") + data)[:_PLAIN_BYTES]
            return True
        if data:
            self._plain = None
        return False

    def _take_all(self, frames: Sequence[Frame]) -> None:
        """Texts that follow each other, as nearly all events are, are taken as one."""
        texts: list[str] = []
        headers, is_text = None, False
        for frame in frames:
            if frame.headers is not headers:  # frames of one kind share them
                headers = frame.headers
                is_text = headers.get(":event-type") == TEXT
            if is_text:
                try:
                    text = decode_text(frame.payload).content
                except UNREADABLE:
                    text = None
                if text is not None:
                    texts.append(text)
                    continue
            if texts:
                self._on_text("".join(texts))
                texts.clear()
            self._take(frame)
        if texts:
            self._on_text("".join(texts))

    def _take(self, frame: Frame) -> None:
        if self.done:
            return
        kind = frame.headers.get(":event-type")
        reading = _EVENTS.get(kind)  # type: ignore[arg-type]  # a header may hold any type
        if reading is None:
            if is_exception(frame):
                self._break(exception_in(frame))
            return  # the service adds events now and then
        decoder, handle = reading
        payload = frame.payload or b"{}"
        try:
            event = decoder.decode(payload)
        except UNREADABLE:
            event = decoder.decode_halves(payload)
            if event is None:
                if kind not in _BESIDE:  # what is said about an answer must not cost the answer
                    self._break(cut(f"The service sent a {kind!s} that cannot be read."))
                return
            self._events.halves = True
        handle(self, event)

    # ------------------------------------------------------------------------------------- events

    def _on_text(self, content: str) -> None:
        if not content or self.done:
            return
        if self._hidden is not None:
            self._end_reasoning()
        self._spoke = True
        text = self._meter.take(content)
        if self._filter is not None:
            self._say(self._filter, self._filter.feed(text))
        elif text:
            self._events.add(TextDelta(text))
        if self._meter.full and not self.done:
            self._cut_short()

    def _on_reasoning(self, event: ReasoningContent) -> None:
        self._release()
        if event.text:
            self._hidden = self._hidden or HiddenFilter()
            self._say_reasoning(self._hidden.feed(event.text))
        if event.signature:
            self._end_reasoning()
            self._events.add(ReasoningSigned(event.signature))
        if event.redacted_content:
            self._spoke = True
            self._events.add(ReasoningRedacted(event.redacted_content))

    def _on_tool_use(self, event: ToolUse) -> None:
        self._end_reasoning()
        self._spoke = True
        call = self._calls.add(event)
        if not self._meter.has_room(self._calls.waiting + size_of(call.arguments if call else "")):
            if call is not None:
                self._calls.give_up(call.name)
            self._cut_short()
        elif call is not None:
            self._meter.take(call.arguments)
            self._release()
            self._called = True
            self._events.add(call)

    def _on_metadata(self, event: Metadata) -> None:
        self._meter.on_metadata(event)
        self._stop_reason = (checked.code(event.stop_reason) or self._stop_reason).upper()

    def _on_citation(self, event: WebLinks | CitationMark | DocumentCitation) -> None:
        for source in cited(event):
            self._events.add(source)

    # ------------------------------------------------------------------------------------- output

    def _say(self, source: AnswerFilter, pieces: Iterable[Piece]) -> None:
        for is_reasoning, text in pieces:
            self._events.add(ReasoningDelta(text) if is_reasoning else TextDelta(text))
        if source.stop is not None:
            self._end(Finished("stop_sequence", self._meter.usage(), source.stop))

    def _say_reasoning(self, text: str) -> None:
        self._spoke = True
        if text := self._meter.take(text):
            self._events.add(ReasoningDelta(text))
        if self._meter.full:
            self._cut_short()

    def _end_reasoning(self) -> None:
        """No more of this piece of reasoning comes."""
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            self._say_reasoning(hidden.close())

    def _release(self) -> None:
        """Say what was held back, as something else follows, or nothing."""
        if self._filter is not None and not self.done:
            self._say(self._filter, self._filter.close())

    # ---------------------------------------------------------------------------------- the ending

    def _finish(self) -> None:
        self._end_reasoning()
        if self._stop_reason in BROKEN:
            self._break(cut(BROKEN[self._stop_reason]))
        elif self._spoke or self._stop_reason in SILENT:
            self._tell_unfinished()
            self._end(Finished(self._ending(), self._meter.usage()))
        elif self._stop_reason == OVERFLOW:
            self._break(classify_exception("", b'{"reason":"MODEL_CONTEXT_WINDOW_EXCEEDED"}'))
        else:
            self._break(cut("The reply was empty."))

    def _ending(self) -> StopReason:
        if self._calls.unfinished or not self._meter.heard:
            return "length"
        return ending(self._stop_reason, called=self._called)

    def _cut_short(self) -> None:
        """More came than the client takes."""
        self._release()
        if not self.done:
            self._tell_unfinished()
            self._end(Finished("length", self._meter.usage()))

    def _break(self, failure: Failure) -> None:
        if failure.request_id is None and self._request_id is not None:
            failure = msgspec.structs.replace(failure, request_id=self._request_id)
        self._end_reasoning()
        self._release()
        if self._events.begun:  # else the failure alone is the reply
            self._tell_unfinished()
        self._end(Failed(failure, self._meter.usage()))

    def _tell_unfinished(self) -> None:
        """Say which calls were cut off: in the next turn the model reads it in its own words."""
        for name in dict.fromkeys(self._calls.unfinished):
            shown = checked.text(name)
            tool = f"the tool {shown}" if shown else "a tool"
            self._events.add(TextDelta(f"\n\n[The call of {tool} was cut off, and was not run.]"))

    def _end(self, event: Finished | Failed) -> None:
        self._events.end(event)
        self.done = True


_BESIDE: Final = (
    *("metadataEvent", "contextUsageEvent", "meteringEvent"),
    *("supplementaryWebLinksEvent", "citationEvent", "documentCitationEvent"),
)
"""Events beside the answer."""
_EVENTS: Final[Mapping[str, tuple[EventDecoder[Any], Callable[[Reader, Any], None]]]] = {
    name: (EventDecoder(name, kind), handle)
    for name, kind, handle in (
        (TEXT, AnswerText, lambda reader, event: reader._on_text(event.content or "")),
        ("codeEvent", AnswerText, lambda reader, event: reader._on_text(event.content or "")),
        ("reasoningContentEvent", ReasoningContent, Reader._on_reasoning),
        ("toolUseEvent", ToolUse, Reader._on_tool_use),
        ("metadataEvent", Metadata, Reader._on_metadata),
        ("contextUsageEvent", ContextUsage, lambda reader, event: reader._meter.on_context_usage(event)),
        ("meteringEvent", Metering, lambda reader, event: reader._meter.on_metering(event)),
        ("supplementaryWebLinksEvent", WebLinks, Reader._on_citation),
        ("citationEvent", CitationMark, Reader._on_citation),
        ("documentCitationEvent", DocumentCitation, Reader._on_citation),
    )
}
"""How each event is read, and what it does."""
