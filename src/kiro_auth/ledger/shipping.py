"""How one gateway's turns come into the database: from its spool, at once, and until the database has them.

Whatever goes on there, a turn costs its answer one line that is appended to a file.  A task in the database's
thread sends what lies in the spool: a turn that comes alone at once, those that came meanwhile together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Final

import msgspec
import psycopg

from kiro_auth.events import Listener, TurnEnded, noted
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger import sums
from kiro_auth.ledger.books import SESSION_DAYS, day
from kiro_auth.ledger.matter import Matter, Scope
from kiro_auth.ledger.protocol import Charged, OnCounted, Sums
from kiro_auth.ledger.row import Row, row_of
from kiro_auth.ledger.spool import Spool, left_behind, new_spool
from kiro_auth.ledger.writer import WAITING
from kiro_auth.os_errors import reason
from kiro_auth.store.database import Database
from kiro_auth.store.schema import Connection

log = logging.getLogger("kiro_auth.ledger")

BATCH: Final = 500
"""Turns that are sent at once."""
_TRIM_EVERY: Final = 1000
"""After so many new rows it is looked whether some are too old."""
_AGAIN_SECONDS: Final = 0.5
"""Between two tries when the database is away."""
_LOOK_SECONDS: Final = 10.0
"""Between two looks for files that killed processes left."""
_CLOSING_SECONDS: Final = 3.0


class Shipping:
    """See `Recorder`.  `folder` is where spools are; it begins with those of processes that are gone."""

    zone = UTC

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        on_counted: OnCounted,
        on_trouble: Callable[[Failure], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._folder = folder
        self._on_counted = on_counted
        self._on_trouble = on_trouble
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._spool: Spool | None = None
        self._unwritten = deque[Row](maxlen=WAITING)
        self._left: list[Spool] = []
        self._looked = float("-inf")
        self._untrimmed = _TRIM_EVERY
        self._is_away = self._closing = False
        self._news = asyncio.Event()  # of the database's loop
        self._task = asyncio.wrap_future(database.submit(self._run()))

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """See `Recorder.listeners`."""
        return (self,)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Write the turn down: once this has returned a killed process loses nothing of it."""
        row = row_of(turn)
        try:
            if self._spool is None:
                self._spool = new_spool(self._folder)
            self._spool.append(msgspec.json.encode(row) + b"\n")
        except OSError as error:
            if not self._unwritten:
                self._tell(_unwritable(self._folder, error))
            self._unwritten.append(row)
        self._database.do_soon(self._news.set)

    @property
    def shared_sums(self) -> Sums:
        """See `Recorder.shared_sums`."""
        return self

    async def spent(self, matter: Matter, scopes: Iterable[Scope]) -> Mapping[Scope, float]:
        """See `Recorder.spent`: what this gateway has not sent yet is sent before."""
        now = self._clock()
        midnight = day(now, UTC)[0]
        names = {scope: name for scope in scopes if (name := matter.of(scope)) is not None}
        wanted = [
            sums.Wanted(scope, name, now - SESSION_DAYS * 86400 if scope == "session" else midnight)
            for scope, name in names.items()
        ]
        if not wanted:
            return {}
        return dict(zip(names, await self.credits_of(wanted), strict=True))

    async def spent_since(self, scope: Scope, name: str, since: float) -> float:
        """See `Sums.spent_since`."""
        return (await self.credits_of([sums.Wanted(scope, name, since)]))[0]

    async def credits_of(self, wanted: Sequence[sums.Wanted]) -> list[float]:
        """The credits of each that is wanted, this gateway's own turns included.  Raises StoreFailed."""

        async def read(connection: Connection) -> list[float]:
            while await self._ship_own(connection):
                pass
            return await sums.spent(connection, wanted)

        return await self._database.call(read)

    async def close(self) -> None:
        """See `Recorder.close`; what cannot be sent now stays in the spool."""
        self._closing = True
        self._database.do_soon(self._news.set)
        await asyncio.wait({self._task}, timeout=_CLOSING_SECONDS)
        self._task.cancel()

    # ------------------------------------------------------------------- in the database's thread

    async def _run(self) -> None:
        try:
            while not (self._closing and (self._is_away or not self._has_work())):
                try:
                    await self._shipped()
                except Exception:
                    log.exception("turns are not sent by a defect of this program; it is tried again")
                    await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            for spool in (self._spool, *self._left):
                if spool is not None:
                    spool.close()

    async def _shipped(self) -> None:
        """Send what there is, or wait for a moment."""
        self._news.clear()
        self._take_over()
        if not self._has_work():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), _LOOK_SECONDS)
            return
        try:
            await self._database.run(self._ship)
            await self._trim()
        except StoreFailed as error:
            if not self._is_away:
                log.warning(
                    "turns wait in the spool: %s",
                    error.failure.sentence(),
                    extra=noted("ledger", state="not sent", failure=error.failure.code),
                )
            self._is_away = True
            await asyncio.sleep(0 if self._closing else _AGAIN_SECONDS)
            return
        if self._is_away:
            log.info("the database has the turns that waited", extra=noted("ledger", state="well"))
        self._is_away = False

    async def _trim(self) -> None:
        if self._untrimmed >= _TRIM_EVERY:
            self._untrimmed = 0
            await self._database.run(lambda connection: sums.trim(connection, self._clock()))

    def _has_work(self) -> bool:
        own = self._spool is not None and not self._spool.is_empty
        return own or bool(self._unwritten or self._left)

    def _take_over(self) -> None:
        """Look now and then for the files of processes that are gone."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        with contextlib.suppress(OSError):  # told when a turn cannot be written there
            self._left += left_behind(self._folder)

    async def _ship(self, connection: Connection) -> None:
        """Send some of this gateway's turns, and some that others left."""
        await self._ship_own(connection)
        while self._left:
            lines, end = self._left[0].page(BATCH)
            if not lines:
                self._left.pop(0).close()
                continue
            await self._enter(connection, _rows(lines))
            self._left[0].forget(end)
            return

    async def _ship_own(self, connection: Connection) -> bool:
        """Whether there was any."""
        unwritten = list(self._unwritten)[:BATCH]
        lines, end = self._spool.page(BATCH) if self._spool is not None else ([], 0)
        if not (unwritten or lines):
            return False
        added = await self._enter(connection, [*_rows(lines), *unwritten])
        if self._spool is not None and lines:
            self._spool.forget(end)
        sent = set(map(id, unwritten))
        while self._unwritten and id(self._unwritten[0]) in sent:  # it may have lost its oldest meanwhile
            self._unwritten.popleft()
        of_session = {change.name: change.after for change in added.changes if change.scope == "session"}
        charged = [
            Charged(row.request_id, row.credits, of_session.get(row.session or ""))
            for row in added.rows
            if row.credits is not None
        ]
        if charged:
            self._in_gateway(lambda: self._on_counted(charged, added.changes))
        return True

    async def _enter(self, connection: Connection, rows: Sequence[Row]) -> sums.Added:
        """Enter the rows.  One that the database cannot take by a defect of ours costs no other."""
        if not rows:
            return sums.Added((), ())
        try:
            added = await sums.add(connection, rows)
        except (psycopg.DataError, UnicodeError):
            if len(rows) == 1:
                log.exception("a row of the ledger is lost by a defect of this program")
                return sums.Added((), ())
            parts = [await self._enter(connection, [row]) for row in rows]
            return sums.Added(
                [row for part in parts for row in part.rows],
                [change for part in parts for change in part.changes],
            )
        self._untrimmed += len(added.rows)
        return added

    # -------------------------------------------------------------------------------------- telling

    def _in_gateway(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(call)

    def _tell(self, failure: Failure) -> None:
        log.warning(
            "%s", failure.sentence(), extra=noted("ledger", state="not written", failure=failure.code)
        )
        self._on_trouble(failure)


def _rows(lines: Sequence[bytes]) -> list[Row]:
    """The rows of lines; one that cannot be read costs no other."""
    rows: list[Row] = []
    for line in lines:
        try:
            rows.append(msgspec.json.decode(line, type=Row))
        except (msgspec.MsgspecError, UnicodeError):
            log.warning("a line of the spool cannot be read", extra=noted("ledger", state="unreadable"))
    return rows


def _unwritable(folder: Path, error: OSError) -> Failure:
    return Failure(
        code="KA-STORE",
        message=f"The ledger's spool {folder} cannot be written: {reason(error)}.",
        next_step="Make room or make it writable; until then turns that the database lacks wait in memory.",
    )
