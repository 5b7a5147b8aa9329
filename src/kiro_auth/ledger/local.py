"""The ledger of one user of one machine: a file, and in memory the books that budgets go by.

SQLite is imported in threads, by those who write or read: a gateway starts without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kiro_auth.events import Listener, TurnEnded, noted
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger.books import Books
from kiro_auth.ledger.matter import Matter, Scope, matter_of
from kiro_auth.ledger.protocol import Charged, OnCounted
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.writer import File, Writer

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger("kiro_auth.ledger")

FILE: Final = "ledger.sqlite3"
"""In the state folder; beside it, while it is open, its write-ahead log."""
_WORDS: Final = {
    "turns": "turns",
    "quarter": "cast(ended / 900 as integer)",
    "order": "number",
}
_BUSY_SECONDS: Final = 5.0


class LocalLedger:
    """See `Ledger`.  Each reading opens a connection of its own that cannot write, and closes it."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def recorder(
        self, *, counts: bool, on_counted: OnCounted, on_trouble: Callable[[Failure], None]
    ) -> LocalRecorder:
        """See `Ledger.recorder`.  The books begin with what the ledger has, before the first turn."""
        writer = Writer(self._open_file, on_trouble=on_trouble)
        books = Counting(self._clock, on_counted, begin_with=self, on_trouble=on_trouble) if counts else None
        return LocalRecorder(books, writer)

    def query(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """See `Ledger.query`."""
        import sqlite3

        if not self._path.exists():
            return []
        try:
            with closing(self._opened_to_read()) as connection:
                begun = connection.execute("pragma user_version").fetchone()[0] > 0
                return connection.execute(query.format(**_WORDS), values).fetchall() if begun else []
        except sqlite3.Error as error:
            raise StoreFailed(_unreadable(self._path, str(error))) from error

    def add_missing(self, rows: Sequence[Row]) -> int:
        """See `Ledger.add_missing`."""
        if not rows:
            return 0
        times = [row.when for row in rows]
        query = "select request_id from {turns} where ended >= :first and ended <= :last"
        there = {name for (name,) in self.query(query, {"first": min(times), "last": max(times)})}
        missing = {row.request_id: row for row in rows if row.request_id not in there}
        if not missing:
            return 0
        file = self._open_file()
        try:
            file.add(list(missing.values()))
        finally:
            file.close()
        return len(missing)

    def forget(self) -> int:
        """See `Ledger.forget`."""
        from kiro_auth.ledger.sqlite import forget

        return forget(self._path)

    def _open_file(self) -> File:
        from kiro_auth.ledger.sqlite import SqliteFile

        return SqliteFile(self._path, clock=self._clock)

    def _opened_to_read(self) -> sqlite3.Connection:
        import sqlite3

        return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)


class LocalRecorder:
    """See `Recorder`: books if somebody asks for sums, and a writer if there is a ledger."""

    zone = None
    shared_sums = None
    """See `Recorder.shared_sums`."""

    def __init__(self, books: Counting | None, writer: Writer | None) -> None:
        self._books = books
        self._writer = writer

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """See `Recorder.listeners`."""
        return tuple(listener for listener in (self._books, self._writer) if listener is not None)

    async def spent(self, matter: Matter, scopes: Iterable[Scope]) -> Mapping[Scope, float]:
        """See `Recorder.spent`."""
        return await self._books.spent(matter, scopes) if self._books is not None else {}

    async def close(self) -> None:
        """See `Recorder.close`."""
        if self._books is not None:
            await self._books.close()
        if self._writer is not None:
            await asyncio.to_thread(self._writer.close)


class Counting:
    """Hears of turns and counts them in books, which `begin_with` what a ledger has, if there is one."""

    def __init__(
        self,
        clock: Callable[[], float],
        on_counted: OnCounted,
        *,
        begin_with: LocalLedger | None = None,
        on_trouble: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._on_counted = on_counted
        self._on_trouble = on_trouble
        self._ledger = begin_with
        self._books = Books()
        self._reading: asyncio.Task[None] | None = None

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Count what it used."""
        metered = turn.usage.credits if turn.usage else None
        if metered is None:
            return
        changes = self._books.add(matter_of(turn), metered, self._clock())
        of_session = next((change.after for change in changes if change.scope == "session"), None)
        self._on_counted([Charged(turn.request_id, metered, of_session)], changes)

    async def spent(self, matter: Matter, scopes: Iterable[Scope]) -> Mapping[Scope, float]:
        """See `Recorder.spent`."""
        if self._ledger is not None:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(self._ledger))
            await asyncio.shield(self._reading)
        return self._books.spent(matter, scopes, self._clock())

    async def close(self) -> None:
        """End what is under way."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, ledger: LocalLedger) -> None:
        try:
            await asyncio.to_thread(self._books.read, ledger, self._clock())
        except StoreFailed as error:
            log.warning("budgets begin at nothing: %s", error, extra=noted("budgets", state="unread"))
            self._on_trouble(error.failure)


def _unreadable(path: Path, why: str) -> Failure:
    return Failure(
        code="KA-STORE",
        message=f"The ledger {path} cannot be read: {why}.",
        next_step="Move it away; the gateway begins a new one.",
    )
