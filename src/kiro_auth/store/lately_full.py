"""Which names were lately found to be used up by others, and when it is worth to ask again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection


class LatelyFull:
    """What one process knows of it without asking; for any thread.

    It is asked again between `shortest` and `longest` seconds after a refusal, by chance, so that processes
    do not ask together.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._pause = shortest, longest
        # By name, when it was refused and until when that counts.  Never changed, as any thread reads it.
        self._refused: dict[str, tuple[float, float]] = {}
        self._look_at = 0.0

    @property
    def names(self) -> Collection[str]:
        """See `Places.full`."""
        refused = self._refused
        if not refused:
            return ()
        now = time.monotonic()
        return [name for name, (_, until) in refused.items() if until > now]

    def was_refused_since(self, name: str, moment: float) -> bool:
        """Whether somebody was refused who asked after this moment (monotonic), and nobody got one since."""
        return moment < self._refused.get(name, (0.0, 0.0))[0]

    def refused(self, name: str, asked: float) -> None:
        """One was refused who asked at this moment."""
        self._refused = {**self._refused, name: (asked, self._next_look())}

    def taken(self, name: str) -> None:
        """One was free."""
        if name in self._refused:
            self._refused = {other: row for other, row in self._refused.items() if other != name}

    async def over(self) -> None:
        """Wait until it is worth to ask again.

        For all that wait here that is the same moment, so that one refusal is enough for all.
        """
        await asyncio.sleep(self._next_look() - time.monotonic())

    def _next_look(self) -> float:
        now = time.monotonic()
        if self._look_at <= now:
            self._look_at = now + random.uniform(*self._pause)  # noqa: S311 (not a secret)
        return self._look_at
