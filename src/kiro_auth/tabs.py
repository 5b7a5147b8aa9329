"""The tabs of a browser that follow one page, each over a stream that stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_TABS: Final = 4
"""Streams at once: a browser makes six connections to a host, and needs some for the rest."""


class Tabs:
    """The streams of one page; truth says whether there are any."""

    def __init__(self) -> None:
        self._ends: list[asyncio.Event] = []  # one for each stream, the oldest first

    def __len__(self) -> int:
        return len(self._ends)

    @contextmanager
    def followed(self) -> Iterator[asyncio.Event]:
        """A stream, for as long as the block lasts; the event says that it is to end.

        Where there are too many the oldest ends.
        """
        end = asyncio.Event()
        self._ends.append(end)
        for oldest in self._ends[:-MOST_TABS]:
            oldest.set()
        try:
            yield end
        finally:
            self._ends.remove(end)

    def end(self) -> None:
        """Have all of them end."""
        for end in self._ends:
            end.set()
