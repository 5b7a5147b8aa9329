"""The events of one read: neighbouring deltas of one kind go out as one event."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import cast

from kiro_auth.conversation import Failed, Finished, ReasoningDelta, ReplyEvent, TextDelta
from kiro_auth.kiro.reply.surrogates import ends_in_half, whole


class Events:
    """Collects events until they are taken; behind the last one of a reply nothing more.

    `halves`: half a character came, so its other half is waited for.  `given` is how often some were taken.
    """

    __slots__ = ("_ended", "_events", "given", "halves")

    def __init__(self) -> None:
        self.given = 0
        self.halves = False
        self._ended = False
        self._events: list[ReplyEvent] = []

    @property
    def begun(self) -> bool:
        """Whether there was any."""
        return bool(self.given or self._events)

    def add(self, event: ReplyEvent) -> None:
        """One more."""
        if not self._ended:
            self._events.append(event)

    def end(self, event: Finished | Failed) -> None:
        """The last one."""
        self.add(event)
        self._ended = True

    def taken(self) -> list[ReplyEvent]:
        """All so far, but for half a character at their end, which may go on."""
        events, self._events = self._events, []
        if self.halves:
            self._keep_half(events)
        if self.halves or len(events) > 1:
            events = self._joined(events)
        if events:
            self.given += 1
        return events

    def _keep_half(self, events: list[ReplyEvent]) -> None:
        """Leave half a character at the end of the last delta to the next time."""
        match events:
            case [*_, (TextDelta(text) | ReasoningDelta(text)) as last] if ends_in_half(text):
                events[-1] = type(last)(text[:-1])
                self._events.append(type(last)(text[-1]))

    def _joined(self, events: list[ReplyEvent]) -> list[ReplyEvent]:
        """The events with neighbouring deltas as one, of whole characters only."""
        joined: list[ReplyEvent] = []
        for kind, run in groupby(events, type):
            if kind is TextDelta or kind is ReasoningDelta:
                deltas = cast("Iterable[TextDelta | ReasoningDelta]", run)
                text = "".join([delta.text for delta in deltas])
                if text := whole(text) if self.halves else text:
                    joined.append(kind(text))
            else:
                joined += run
        return joined
