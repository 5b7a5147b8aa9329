"""The listener that keeps turns: one thread writes what they leave behind, half a second's rows at a time.

Nothing of it stands on a turn's way: a turn is put into a queue, all else is the thread's.  The file is
opened with the first turn.  A process that is killed loses the rows that were not written yet, those of the
last second.  Rows that cannot be written, as on a full disk, wait in memory up to a number, and people are
told once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from kiro_auth.events import TurnEnded, noted
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger.row import Row, row_of

log = logging.getLogger("kiro_auth.ledger")

BATCH_SECONDS: Final = 0.5
"""How long rows are gathered before they are written."""
WAITING: Final = 10_000
"""Rows that wait in memory while they cannot be written; beyond that the oldest are given up."""
_AGAIN_SECONDS: Final = 5.0
"""Between two tries to write what could not be written."""
_CLOSING_SECONDS: Final = 5.0


class File(Protocol):
    """Where rows are kept."""

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows, all or none.  Raises StoreFailed."""

    def close(self) -> None:
        """Close what is open."""


class Writer:
    """Hears of turns and keeps them.

    `open_file` is called in the thread.  `on_trouble` hears in the thread, once each time that rows begin to
    wait in memory.
    """

    def __init__(
        self,
        open_file: Callable[[], File],
        *,
        on_trouble: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        self._open_file = open_file
        self._on_trouble = on_trouble
        self._turns: SimpleQueue[TurnEnded | None] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Keep the turn, soon."""
        self._turns.put(turn)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is there, and close the file; it takes seconds at most."""
        if self._thread is None:
            return
        self._closing.set()
        self._turns.put(None)  # wakes the thread
        self._thread.join(_CLOSING_SECONDS)

    def _run(self) -> None:
        file, waiting = self._open_file(), deque[Row](maxlen=WAITING)
        well = True
        while not (self._closing.is_set() and self._turns.empty()):
            turns = self._gathered(_AGAIN_SECONDS if waiting else None)
            try:
                waiting.extend(map(row_of, turns))
                if not waiting:
                    continue
                file.add(waiting)
            except Exception as error:
                if not isinstance(error, StoreFailed):
                    log.exception("rows of the ledger are lost by a defect of this program")
                    waiting.clear()
                    continue
                if well:
                    self._tell(error.failure)
                well = False
            else:
                if not well:
                    log.info("the ledger is written again", extra=noted("ledger", state="well"))
                well = True
                waiting.clear()
        if waiting:
            log.warning(
                "the ledger lacks the last %d turns", len(waiting), extra=noted("ledger", state="lost")
            )
        file.close()

    def _gathered(self, patience: float | None) -> list[TurnEnded]:
        """The turns that came, once there is one, or `patience` is over."""
        try:
            turns = [self._turns.get(timeout=patience)]
        except Empty:
            return []
        self._closing.wait(BATCH_SECONDS)
        while not self._turns.empty():
            turns.append(self._turns.get())
        return [turn for turn in turns if turn is not None]

    def _tell(self, failure: Failure) -> None:
        log.warning(
            "%s", failure.sentence(), extra=noted("ledger", state="not written", failure=failure.code)
        )
        self._on_trouble(failure)
