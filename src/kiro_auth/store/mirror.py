"""What this process knows of the accounts in a database, so that it can be read without waiting.

Other things that are read so have a note in the table of notes, which changes whenever they do (`follow`).

Own changes are in it as soon as they are made.  Of those of others a notice tells (LISTEN), where the engine
has that; besides, the revisions of all rows are looked at every few seconds, and only rows that changed are
fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import psycopg
from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store.database import CHANNEL, Database, in_time
from kiro_auth.store.protocol import Record, Snapshot
from kiro_auth.store.schema import Connection
from kiro_auth.store.sealed import Sealer
from kiro_auth.store.unopened import CannotOpen, Unopened, key_is_wrong

_POLL_SECONDS: Final = 2.0
"""Between two looks at the revisions; usage, which changes with every turn, comes by them alone."""
_POLL_WITHOUT_NOTICES: Final = 0.9
"""As a revoked client key lets nobody in after a second."""
_AGAIN_SECONDS: Final = 0.25
_BLINK_SECONDS: Final = 1.0
"""As long as the database may be away before what is known of it counts no more."""
ACTIVE: Final = "active"
"""The note of the account in use."""


Fetch: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Reads something anew."""


class Row(Struct, frozen=True):
    """A row of the table of accounts, and what it says; nothing if it is `unopened`."""

    account_id: str
    position: int
    revision: int
    record_sealed: bytes
    usage_sealed: bytes | None
    record: Record
    usage: Record
    unopened: Unopened | None = None


class Mirror:
    """What is known; all but `snapshot` is for the database's thread, on the turn of its connection."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._rows: dict[str, Row] = {}
        self._active: str | None = None
        self._followed: dict[str, Fetch] = {}
        self._notes: dict[str, str] = {}  # as they were when that was fetched
        self._snapshot: Snapshot | None = None
        self._failure: Failure | None = None
        self._lost_at: float | None = None
        self._is_loaded = self._watches = False

    def snapshot(self) -> Snapshot:
        """What is known by now; the first call waits for it.  Raises StoreFailed."""
        if not self._watches:
            with contextlib.suppress(StoreFailed):  # it is kept, and raised below
                self._database.submit(self._begin()).result()
        if self._failure is not None:
            raise StoreFailed(self._failure)
        assert self._snapshot is not None
        return self._snapshot

    def follow(self, note: str, fetch: Fetch) -> None:
        """Have it fetched with the next look, and whenever this note has changed; from any thread."""
        self._notes.pop(note, None)
        self._followed = {**self._followed, note: fetch}

    async def refresh(self, connection: Connection) -> Snapshot:
        """Fetch what changed.  Raises StoreFailed, psycopg.Error."""
        found = await connection.execute("SELECT id, revision FROM kiro_auth.accounts")
        revisions: dict[str, int] = dict(await found.fetchall())
        changed = [
            account_id
            for account_id, revision in revisions.items()
            if account_id not in self._rows or self._rows[account_id].revision != revision
        ]
        rows = await self._fetch(connection, changed) if changed else []
        self._check_key(rows, revisions.keys())
        found = await connection.execute(
            "SELECT name, value FROM kiro_auth.notes WHERE name = ANY(%s)", [[ACTIVE, *self._followed]]
        )
        notes: dict[str, str] = dict(await found.fetchall())
        for note, fetch in self._followed.items():
            if note in notes and notes[note] != self._notes.get(note):
                await fetch(connection)
                self._notes[note] = notes[note]
        self._failure = self._lost_at = None
        self._active = notes.get(ACTIVE)
        self._is_loaded = True
        return self.take(rows, self._rows.keys() - revisions.keys())

    async def read(self, connection: Connection, account_ids: Sequence[str]) -> list[Row]:
        """These rows, as far as they are there and can be opened."""
        return [row for row in await self._fetch(connection, account_ids) if row.unopened is None]

    async def locked(
        self, connection: Connection, account_ids: Sequence[str], *, all_open: bool
    ) -> list[Row]:
        """As `read`, for who changes them.  Raises CannotOpen if `all_open` must be, and one is not."""
        rows = await self._fetch(connection, account_ids, "FOR UPDATE")
        for why in _unopened(rows).values() if all_open else ():
            raise CannotOpen(why)
        return [row for row in rows if row.unopened is None]

    async def _fetch(self, connection: Connection, account_ids: Sequence[str], lock: str = "") -> list[Row]:
        """These rows, as far as they are there, whether they can be opened or not."""
        found = await connection.execute(
            "SELECT id, position, revision, record, usage FROM kiro_auth.accounts "  # noqa: S608 (fixed words)
            f"WHERE id = ANY(%s) ORDER BY id {lock}",
            [list(account_ids)],
        )
        return [self._opened(*row) for row in await found.fetchall()]

    def take(self, rows: Iterable[Row], gone: Iterable[str] = ()) -> Snapshot:
        """Put these in, and out what is `gone`; what did not change stays the same object."""
        left = self._rows.keys() - set(gone)
        after = {account_id: row for account_id, row in self._rows.items() if account_id in left}
        after |= {row.account_id: row for row in rows}
        self._rows = dict(sorted(after.items(), key=lambda item: item[1].position))
        snapshot = self._built(self._snapshot)
        if self._is_loaded:  # own changes before the first look are found by it
            self._snapshot = snapshot
        return snapshot

    def note(self, active: str) -> None:
        """That this account is in use."""
        self._active = active
        self.take(())

    def _built(self, last: Snapshot | None) -> Snapshot:
        rows = [row for row in self._rows.values() if row.unopened is None]
        by_id: Mapping[str, Record] = {row.account_id: row.record for row in rows}
        accounts = tuple(by_id.values())
        usage: Mapping[str, Record] = {row.account_id: row.usage for row in rows if row.usage_sealed}
        active = self._active if self._active in by_id else None
        unreadable = {account_id: why.failure for account_id, why in _unopened(self._rows.values()).items()}
        if last is not None and last.accounts == accounts:
            accounts, by_id = last.accounts, last.by_id or by_id
        if last is not None and last.usage == usage:
            usage = last.usage
        return Snapshot(accounts, usage, active, None, by_id, unreadable)

    def _opened(
        self, account_id: str, position: int, revision: int, record: bytes, usage: bytes | None
    ) -> Row:
        known = self._rows.get(account_id)
        try:
            if known is not None and known.unopened is None and known.record_sealed == record:
                opened = known.record
            else:
                opened = self._sealer.open(record, account_id)
            row = self._sealer.open(usage, account_id) if usage is not None else {}
        except CannotOpen as error:
            return Row(account_id, position, revision, record, usage, {}, {}, error.why)
        return Row(account_id, position, revision, record, usage, opened, row)

    def _check_key(self, changed: Sequence[Row], there: Collection[str]) -> None:
        """Raises StoreFailed if no key fits any of the rows."""
        rows = self._rows | {row.account_id: row for row in changed}
        found = [row for account_id, row in rows.items() if account_id in there]
        if wrong := key_is_wrong(_unopened(found), len(found)):
            raise StoreFailed(wrong)

    async def _begin(self) -> None:
        await self._look()
        if not self._watches:  # of several threads that were the first
            self._watches = True
            self._database.keep_running(self._watch())

    async def _look(self) -> None:
        """Refresh; what is known counts no more when the database is away for longer than a moment."""
        try:
            await self._database.run(self.refresh)
        except StoreFailed as error:
            self._lost_at = self._lost_at or time.monotonic()
            if self._snapshot is None or time.monotonic() - self._lost_at > _BLINK_SECONDS:
                self._failure = error.failure

    async def _watch(self) -> None:
        await asyncio.sleep(_AGAIN_SECONDS)  # a command has ended by then
        while True:
            with contextlib.suppress(psycopg.Error, TimeoutError, OSError):
                await self._hear()
            await self._look()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _hear(self) -> None:
        """Look whenever a notice comes, and every few seconds; until the connection breaks."""
        if not self._database.gives_notice:
            await asyncio.sleep(_POLL_WITHOUT_NOTICES)
            return
        async with contextlib.AsyncExitStack() as opened:
            connection = await in_time(self._connected(opened), lambda: None)
            await in_time(_listen(connection), lambda: connection)
            while self._lost_at is None:
                await self._look()
                async for _ in connection.notifies(timeout=_POLL_SECONDS, stop_after=1):
                    pass

    async def _connected(self, opened: contextlib.AsyncExitStack) -> Connection:
        """A connection that ends with `opened`, also if it comes as nobody waits for it any more."""
        connection = await self._database.connect()
        opened.push_async_callback(connection.close)
        return connection


def _unopened(rows: Iterable[Row]) -> dict[str, Unopened]:
    return {row.account_id: row.unopened for row in rows if row.unopened is not None}


async def _listen(connection: Connection) -> None:
    await connection.execute(f"LISTEN {CHANNEL}")
