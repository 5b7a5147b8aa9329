"""One timer for all that must know the time now and then: whatever is due may be a tick late."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

TICK: Final = 1.0
"""Seconds between two ticks."""


class Ticking(Protocol):
    """Something that is told the time."""

    def tick(self, now: float) -> None:
        """The time, in the seconds of the loop."""


class Wheel:
    """Tells the time for as long as there is something to be told, every `seconds`."""

    def __init__(self, seconds: float = TICK) -> None:
        self._seconds = seconds
        self._all: set[Ticking] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, each: Ticking) -> None:
        """Tell this one as well."""
        self._all.add(each)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._turn)

    def discard(self, each: Ticking) -> None:
        """Tell it no more."""
        self._all.discard(each)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._turn) if self._all else None
        now = loop.time()
        for each in tuple(self._all):
            each.tick(now)
