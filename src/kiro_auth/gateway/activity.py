"""What is under way: a gateway ends when nothing is, and has not been for long."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from msgspec import Struct


class Activity(Struct):
    """How many requests and sign-ins are `open`, and when the `last` one ended (monotonic)."""

    open: int = 0
    last: float = 0.0

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts what happens in the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """One more is under way."""
        self.open += 1

    def end(self) -> None:
        """One of them ended."""
        self.open -= 1
        self.last = time.monotonic()
