"""Changes of one file that come while it is being written are written together.

Each waits until it is on the disk, as if it were alone; ten thousand at once cost few writes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from kiro_auth.failures import StoreFailed

Change = TypeVar("Change")
Outcome = Exception | None
"""What became of one change: None, or why it was not made."""


class Together(Generic[Change]):
    """`write` makes changes in their order, in a thread, and says what became of each; or raises for all."""

    def __init__(self, write: Callable[[Sequence[Change]], Sequence[Outcome]]) -> None:
        self._write = write
        self._guard = threading.Lock()
        self._waiting: list[tuple[Change, Future[None]]] = []
        self._writing = False

    async def make(self, change: Change) -> None:
        """Make the change, also if who waits for it is cancelled.  Raises what became of it."""
        await asyncio.shield(asyncio.wrap_future(self.begin(change)))

    def begin(self, change: Change) -> Future[None]:
        """Have the change made, whoever waits for it; from within an event loop."""
        done: Future[None] = Future()
        with self._guard:
            self._waiting.append((change, done))
            begins, self._writing = not self._writing, True
        if begins:
            asyncio.get_running_loop().run_in_executor(None, self._write_all)
        return done

    def _write_all(self) -> None:
        while batch := self._next():
            changes = [change for change, _ in batch]
            try:
                outcomes = self._write(changes)
            except Exception as error:
                outcomes = [_another(error) for _ in batch]
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                if outcome is None:
                    done.set_result(None)
                else:
                    done.set_exception(outcome)

    def _next(self) -> list[tuple[Change, Future[None]]]:
        with self._guard:
            batch, self._waiting = self._waiting, []
            self._writing = bool(batch)
            return batch


def _another(error: Exception) -> Exception:
    """The same failure, for one more who waits: an exception that is raised twice grows."""
    return type(error)(error.failure) if isinstance(error, StoreFailed) else error
