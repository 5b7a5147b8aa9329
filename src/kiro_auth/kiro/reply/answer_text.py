"""The text of an answer as the client gets it: what does not belong there is taken out, in one order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from msgspec import Struct

from kiro_auth.kiro.reply.text_filters import FenceFilter, PrefillFilter, StopFilter, TagFilter

Piece: TypeAlias = tuple[bool, str]
"""Whether it is reasoning, and its text, which is never empty."""


class Expected(Struct, frozen=True):
    """What an answer's text may hold besides the answer.

    `tags`: reasoning in tags at the start.  `fence`: a code fence around JSON.  `prefill`: words that the
    client has already.  `stops`: texts that end it.
    """

    tags: bool = False
    fence: bool = False
    prefill: str = ""
    stops: tuple[str, ...] = ()


class AnswerFilter:
    """Filters text that comes in pieces.  `stop` is the stop sequence that ended it, once one did."""

    def __init__(self, expected: Expected) -> None:
        self.stop: str | None = None
        self._tags = TagFilter() if expected.tags else None
        self._filters: list[FenceFilter | PrefillFilter] = []
        if expected.fence:
            self._filters.append(FenceFilter())
        if expected.prefill:
            self._filters.append(PrefillFilter(expected.prefill))
        self._stops = StopFilter(expected.stops)

    def feed(self, text: str) -> Iterator[Piece]:
        """What is certain after this piece."""
        if self._tags is None:
            yield from self._answer(text)
        else:
            yield from self._untagged(self._tags.feed(text))

    def close(self) -> Iterator[Piece]:
        """What was still held back, at the end of the text or before something else; no tag can follow."""
        if self._tags is not None:
            tags, self._tags = self._tags, None
            yield from self._untagged(tags.close())
        text = ""
        for part in self._filters:
            text = part.feed(text) + part.close()
        yield from self._stopped(text)
        if self.stop is None and (held := self._stops.close()):
            yield False, held

    def _untagged(self, parts: Iterable[Piece]) -> Iterator[Piece]:
        for is_reasoning, text in parts:
            if is_reasoning:
                yield True, text
            else:
                yield from self._answer(text)

    def _answer(self, text: str) -> Iterator[Piece]:
        for part in self._filters:
            text = part.feed(text)
        yield from self._stopped(text)

    def _stopped(self, text: str) -> Iterator[Piece]:
        if self.stop is None:
            text, self.stop = self._stops.feed(text)
            if text:
                yield False, text
