"""A store in a PostgreSQL database, or what speaks its protocol, for any number of gateways on any machines.

Accounts and usage rows are sealed (`sealed`); in clear are their ids, their order, and times.  A change locks
its rows, within one transaction, and sets the named fields.  Leases are rows with an end by the database's
clock; whoever takes one swaps a row that is over.  There are no advisory locks and no locks of tables, which
engines that span regions do not have.

A lease outlives a process that is killed, until its end.  So it does when the database is away as a renewal
ends: the new token is in a local file by then (`ahead`), the lease keeps other machines from trying the old
one, and this process, or the next one on its state folder, which may take up that lease at once (`holders`),
saves the token once the database is back.  The file is where the process runs: to lose a token the machine's
disk has to fail as well, or not to come back before the lease is over.  So the state folder of a replica must
outlast its restart, and the end of a lease is not that of the replica's row (`places`), which is over after
fifteen seconds without a beat: a replica that was cut off for so long may hold the only token there is.

Why psycopg: it takes every address and every TLS setting that PostgreSQL's own programs take (libpq), is what
CockroachDB documents, and has LISTEN and asyncio.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store import schema
from kiro_auth.store.ahead import FOLDER, AheadFiles
from kiro_auth.store.database import Database, outcome
from kiro_auth.store.holders import Holder, Holders
from kiro_auth.store.homes import DatabaseHomes, forget_unused
from kiro_auth.store.mirror import ACTIVE, Mirror, Row
from kiro_auth.store.places import DatabasePlaces
from kiro_auth.store.protocol import Ahead, Credits, Homes, Places, Record, Renewed, Snapshot, StoreBusy
from kiro_auth.store.rows import swapped, with_credits
from kiro_auth.store.schema import Connection
from kiro_auth.store.sealed import Sealer

_LOOK_SECONDS: Final = 0.1
"""Between two looks at a lease that another holds."""
_MIGRATION_SECONDS: Final = 60.0
Change = Callable[[Row], tuple[Record, Record]]
"""What becomes of a row's record and usage; the very same objects for what stays."""


class PostgresStore:
    """The accounts in the database at `url`, opened with the keys.

    `locks` is the folder of locks in the state folder, beside which new tokens are kept ahead.

    See `Store`.  Any thread and any event loop may use it.
    """

    def __init__(self, url: str, keys: list[bytes], locks: Path) -> None:
        self._sealer = Sealer(keys)
        self._database = Database(url)
        self._mirror = Mirror(self._database, self._sealer)
        self._ahead = AheadFiles(locks.parent / FOLDER, self._database.name)
        self._holders = Holders(locks)
        self.places: Places = DatabasePlaces(self._database)
        """See `Store.places`."""
        self.homes: Homes = DatabaseHomes(self._database)
        """See `Store.homes`."""
        self.close = weakref.finalize(self, self._database.close)
        """Closes its connections; so does the end of the program."""

    @property
    def database(self) -> Database:
        """Its connections, for what else is kept there."""
        return self._database

    @property
    def mirror(self) -> Mirror:
        """What is known of it without waiting."""
        return self._mirror

    @property
    def name(self) -> str:
        """What the database is called in messages."""
        return self._database.name

    @property
    def ahead(self) -> Ahead:
        """See `Store.ahead`."""
        return self._ahead

    def waiting(self, account_id: str) -> Renewed | None:
        """The new tokens of an account that are kept ahead on this machine."""
        return self._ahead.look(account_id)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`; the first one waits for the database, up to two seconds."""
        return self._mirror.snapshot()

    async def load(self) -> Snapshot:
        """See `Store.load`."""
        return await self._database.call(self._mirror.refresh)

    async def add(self, record: Record) -> None:
        """See `Store.add`."""
        account_id = record["id"]
        sealed = self._sealer.seal(record, account_id)

        async def add(connection: Connection) -> None:
            async with connection.transaction():
                # A revision that no earlier row of this id has had.
                found = await connection.execute(
                    "INSERT INTO kiro_auth.accounts (id, revision, record) "
                    "VALUES (%s, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, %s) "
                    "ON CONFLICT (id) DO NOTHING RETURNING position, revision",
                    [account_id, sealed],
                )
                row = await found.fetchone()
                if row is None:
                    raise ValueError(f"the account {account_id} is there already")
                await self._database.give_notice(connection)
            self._mirror.take([Row(account_id, row[0], row[1], sealed, None, dict(record), {})])

        await self._database.call(add)

    async def change(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """See `Store.change`."""
        rows = await self._changed(
            [account_id], lambda row: (swapped(row.record, fields, if_unchanged), row.usage)
        )
        return rows[0].record if rows else None

    async def remove(self, account_id: str) -> bool:
        """See `Store.remove`; backups of the database are its operator's."""

        async def remove(connection: Connection) -> bool:
            async with connection.transaction():
                done = await connection.execute("DELETE FROM kiro_auth.accounts WHERE id = %s", [account_id])
                await connection.execute(
                    "DELETE FROM kiro_auth.notes WHERE name = %s AND value = %s", [ACTIVE, account_id]
                )
                await self._database.give_notice(connection)
            self._mirror.take((), [account_id])
            return done.rowcount > 0

        was_there = await self._database.call(remove)
        self._ahead.forget(account_id)
        return was_there

    async def note_active(self, account_id: str) -> None:
        """See `Store.note_active`."""

        async def note(connection: Connection) -> None:
            done = await connection.execute(
                "INSERT INTO kiro_auth.notes (name, value) "
                "SELECT %s, id FROM kiro_auth.accounts WHERE id = %s "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [ACTIVE, account_id],
            )
            if done.rowcount:
                self._mirror.note(account_id)

        await self._database.call(note)

    async def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """See `Store.change_usage`."""
        await self._changed([account_id], lambda row: (row.record, swapped(row.usage, fields)))

    async def add_credits(self, metered: Mapping[str, Credits]) -> None:
        """See `Store.add_credits`."""
        await self._changed(
            metered.keys(),
            lambda row: (row.record, with_credits(row.usage, metered[row.account_id])),
            all_open=False,
        )

    async def clear_leftovers(self) -> None:
        """See `Store.clear_leftovers`: rows of leases that are long over, and of conversations."""

        async def clear(connection: Connection) -> None:
            await forget_unused(connection)
            await connection.execute("DELETE FROM kiro_auth.leases WHERE until < now() - interval '1 hour'")

        await self._database.call(clear)

    def lease(self, name: str, seconds: float, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
        """See `Store.lease`.

        What a process held that was killed, or could not tell the database, the next one on its state folder
        gets at once, and others after `seconds`.
        """
        return self._leased(name, seconds, wait)

    async def seal_anew(self) -> int:
        """Seal with the newest key what another one has sealed; how many accounts that were.

        What cannot be opened stays as it is.
        """
        old = [row.account_id for row in await self._all_rows() if not self._is_newest(row)]
        for account_id in old:
            await self._changed([account_id], _as_new, all_open=False)
        return len(old)

    async def count_old(self) -> int:
        """How many of the accounts that can be opened are sealed with another key than the newest."""
        return sum(not self._is_newest(row) for row in await self._all_rows())

    async def _all_rows(self) -> list[Row]:
        """Those that can be opened."""
        ids = list((await self.load()).by_id or ())
        return await self._database.call(lambda connection: self._mirror.read(connection, ids))

    def _is_newest(self, row: Row) -> bool:
        sealed = [text for text in (row.record_sealed, row.usage_sealed) if text is not None]
        return all(map(self._sealer.is_newest, sealed))

    async def _changed(
        self, account_ids: Iterable[str], change: Change, *, all_open: bool = True
    ) -> list[Row]:
        """The rows of those accounts that are there, after the change; in one transaction.

        Raises CannotOpen if one cannot be opened; unless `all_open` must be, it is left out.
        """
        ids = list(account_ids)

        async def make(connection: Connection) -> list[Row]:
            async with connection.transaction():
                before = await self._mirror.locked(connection, ids, all_open=all_open)
                after = [self._after(row, change) for row in before]
                for old, new in zip(before, after, strict=True):
                    if new is not old:
                        await connection.execute(
                            "UPDATE kiro_auth.accounts SET revision = %s, record = %s, usage = %s "
                            "WHERE id = %s",
                            [new.revision, new.record_sealed, new.usage_sealed, new.account_id],
                        )
                if any(new.record is not old.record for old, new in zip(before, after, strict=True)):
                    await self._database.give_notice(connection)
            self._mirror.take(after)
            return after

        return await self._database.call(make)

    def _after(self, row: Row, change: Change) -> Row:
        record, usage = change(row)
        after = row
        if record is not row.record:
            sealed = self._sealer.seal(record, row.account_id)
            after = replace(after, record=record, record_sealed=sealed)
        if usage is not row.usage:
            after = replace(after, usage=usage, usage_sealed=self._sealer.seal(usage, row.account_id))
        # By the clock, as a count would come again once a backup was put back.
        later = max(row.revision + 1, time.time_ns() // 1000)
        return row if after is row else replace(after, revision=later)

    @asynccontextmanager
    async def _leased(self, name: str, seconds: float, wait: float) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        async with self._holders.holder(name, wait=wait) as holder:
            lease = _Lease(name, holder.id)
            is_left = holder.follows  # what the one before has kept is not saved until the block has begun
            try:
                while not await self._taken(lease, seconds):
                    if loop.time() >= end:
                        raise _busy(name, self.name)
                    await asyncio.sleep(_LOOK_SECONDS)
                with holder.lasts(seconds):
                    is_left = False
                    yield
            finally:
                if is_left:  # the row is that of the one before, or this one's under the same name
                    self._holders.on_left(name, holder)
                else:
                    # It goes on if this is cancelled.
                    await outcome(self._database.submit(self._freed(lease, holder)))

    async def _taken(self, lease: _Lease, seconds: float) -> bool:
        async def take(connection: Connection) -> bool:
            found = await connection.execute(
                "INSERT INTO kiro_auth.leases (name, holder, until) "
                "VALUES (%s, %s, now() + %s * interval '1 second') "
                "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until "
                "WHERE kiro_auth.leases.until <= now() OR kiro_auth.leases.holder = excluded.holder "
                "RETURNING until",
                [lease.name, lease.holder, seconds],
            )
            row = await found.fetchone()
            lease.until = row[0] if row else None
            return row is not None

        return await self._database.call(take)

    async def _freed(self, lease: _Lease, holder: Holder) -> None:
        async def free(connection: Connection) -> None:
            # One that was over by then may be another's of the same id.
            done = await connection.execute(
                "DELETE FROM kiro_auth.leases WHERE name = %s AND holder = %s "
                "AND until = coalesce(%s::timestamptz, until)",
                [lease.name, lease.holder, lease.until],
            )
            if done.rowcount or lease.until is None:
                self._holders.on_freed(holder)

        try:
            await self._database.run(free)
        except StoreFailed:
            self._holders.on_left(lease.name, holder)


class _Lease:
    """A lease that is wanted; `until` when the database will end it, once it is held."""

    def __init__(self, name: str, holder: str) -> None:
        self.name = name
        self.holder = holder
        self.until: datetime | None = None


def _as_new(row: Row) -> tuple[Record, Record]:
    return dict(row.record), row.usage if row.usage_sealed is None else dict(row.usage)


async def migrate(url: str) -> list[int]:
    """Make the tables that the database lacks; the numbers of the steps that were made.

    Raises ConfigFailed, StoreFailed.
    """
    database = Database(url, migrated=False, patient=True)
    try:
        return await database.call(schema.migrate, seconds=_MIGRATION_SECONDS)
    finally:
        database.close()


def _busy(name: str, database: str) -> StoreBusy:
    return StoreBusy(
        Failure(
            code="KA-STORE",
            message=f"Another program holds the lease {name} in the database {database}.",
            next_step="It ends by itself after two minutes at most.",
        )
    )
