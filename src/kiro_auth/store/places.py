"""How many use something at a time, counted over all replicas of a database.

A place is a row, by the name of what is used and a number from 1 to the limit: its primary key lets no two
have the same one.  It hangs on the row of the replica that holds it, with an end which the replica's beat
keeps ahead.  A replica whose row is over is removed by another one's beat, and its places with it.  Until
then it may prolong its row, so a replica that was only slow loses nothing; nor does any when the database
was away, as nobody removes others before it has been back for a whole beat.

What a replica believes to hold and what the rows say can differ in two ways: the row was removed, or a
statement's answer never came.  Both are mended in the same way.  The replica takes a row of a new id, has
what it holds moved there, and removes the former row; what still comes in under the former id is refused by
the foreign key.

Waiting is by asking again, not by notices: a notice for each place that is given back would wake all
replicas, although few of them wait.  Nor does who gives one back hand it to its own: whoever waits, on
whatever replica, has the same chance.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Collection
from concurrent.futures import Future
from functools import partial
from typing import Final

from psycopg import errors

from kiro_auth.failures import StoreFailed
from kiro_auth.store.database import Database, outcome
from kiro_auth.store.lately_full import LatelyFull
from kiro_auth.store.schema import Connection

BEAT_SECONDS: Final = 5.0
"""The longest between two beats of a replica."""
LASTING_SECONDS: Final = 15.0
"""How long a replica's row lasts after a beat, by the database's clock."""
_AGAIN_SECONDS: Final = 1.0
"""After a beat that failed."""
_ENTER: Final = """
    INSERT INTO kiro_auth.replicas (id, until)
    VALUES (%(id)s, now() + %(seconds)s * interval '1 second')
"""
_TAKE: Final = """
    WITH free AS (
        SELECT number FROM generate_series(1, %(limit)s::integer) AS wanted (number)
        WHERE (SELECT count(*) FROM kiro_auth.places WHERE name = %(name)s) < %(limit)s
            AND number NOT IN (SELECT number FROM kiro_auth.places WHERE name = %(name)s)
        ORDER BY random() LIMIT 1
    ), taken AS (
        INSERT INTO kiro_auth.places (name, number, replica)
        SELECT %(name)s, number, %(replica)s FROM free
        ON CONFLICT (name, number) DO NOTHING RETURNING number
    )
    SELECT (SELECT number FROM taken), EXISTS (SELECT 1 FROM free)
"""


class DatabasePlaces:
    """See `Places`, and the module; what begins with `_` is for the database's thread."""

    lags: Final = (0.01, 0.04, 0.15, 0.3)
    """See `Places.lags`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ids: list[str] = []  # of this replica, the newest last; several while it is unsure
        self._is_sure = False
        self._beats = False
        self._last_beat = float("-inf")
        self._held: dict[str, list[int | None]] = {}  # None: another has the row
        self._limits: dict[str, int] = {}
        self._given_back: list[tuple[str, int]] = []
        self._shipping: asyncio.Task[None] | None = None
        self._full = LatelyFull(0.05, 0.25)

    @property
    def full(self) -> Collection[str]:
        """See `Places.full`."""
        return self._full.names

    async def take(self, name: str, limit: int) -> bool:
        """See `Places.take`."""
        taking = self._database.submit(self._take(name, limit, time.monotonic()))
        try:
            return await outcome(taking)
        except asyncio.CancelledError:
            # It may be done by now, and would call back in this thread.
            taking.add_done_callback(
                lambda _: self._database.do_soon(partial(self._not_wanted, name, taking))
            )
            raise

    def release(self, name: str) -> None:
        """See `Places.release`; while the database is away it is remembered."""
        self._database.do_soon(partial(self._release, name))

    async def count(self, name: str) -> int:
        """See `Places.count`."""

        async def count(connection: Connection) -> int:
            found = await connection.execute("SELECT count(*) FROM kiro_auth.places WHERE name = %s", [name])
            row = await found.fetchone()
            return row[0] if row else 0

        return await self._database.call(count)

    async def freed(self) -> None:
        """See `Places.freed`."""
        await self._full.over()

    # -------------------------------------------------------------------------- taking, giving back

    async def _take(self, name: str, limit: int, came: float) -> bool:
        async def take(connection: Connection) -> bool:
            if self._full.was_refused_since(name, came):
                return False
            asked = time.monotonic()
            number = await self._taken(connection, name, limit)
            if number is None:
                self._full.refused(name, asked)
                return False
            self._full.taken(name)
            self._hold(name, number, limit)
            return True

        try:
            return await self._database.run(take)
        except StoreFailed:
            self._is_sure = False
            raise

    def _hold(self, name: str, number: int | None, limit: int) -> None:
        self._held.setdefault(name, []).append(number)
        self._limits[name] = limit

    async def _taken(self, connection: Connection, name: str, limit: int) -> int | None:
        """The number of a place that was free and is this replica's now; None when all are in use."""
        while True:
            await self._register(connection)
            try:
                return await self._number(connection, name, limit)
            except errors.ForeignKeyViolation:  # this replica's row was removed
                self._is_sure = False

    async def _number(self, connection: Connection, name: str, limit: int) -> int | None:
        """As `_taken`.  Raises ForeignKeyViolation when this replica has no row."""
        while True:
            found = await connection.execute(_TAKE, {"name": name, "limit": limit, "replica": self._ids[-1]})
            row = await found.fetchone()
            assert row is not None
            number, had_free = row
            if number is not None or not had_free:
                return number  # type: ignore[no-any-return]  # else another was faster with this number

    def _not_wanted(self, name: str, taking: Future[bool]) -> None:
        if not taking.cancelled() and taking.exception() is None and taking.result():
            self._release(name)

    def _release(self, name: str) -> None:
        numbers = self._held[name]
        number = None if None in numbers else numbers[-1]  # without a row there are more than allowed
        numbers.remove(number)
        if not numbers:
            del self._held[name], self._limits[name]
        if number is not None:
            self._given_back.append((name, number))
            if self._shipping is None:
                self._shipping = asyncio.get_running_loop().create_task(self._ship())

    async def _ship(self) -> None:
        """What comes while it waits for its turn goes along."""
        try:
            await self._database.run(self._give_back)
        except StoreFailed:
            self._is_sure = False  # the next beat has it done
        finally:
            self._shipping = None

    async def _give_back(self, connection: Connection) -> None:
        await self._register(connection)
        rows = list(self._given_back)
        self._shipping = None  # what comes from now on needs another
        if rows:
            await connection.execute(
                "DELETE FROM kiro_auth.places WHERE replica = %s AND (name, number) IN "
                "(SELECT * FROM unnest(%s::text[], %s::integer[]))",
                [self._ids[-1], *_columns(rows)],
            )
            del self._given_back[: len(rows)]  # not before: the engine may have it done again

    # --------------------------------------------------------------------------- the replica's row

    async def _register(self, connection: Connection) -> None:
        """Make sure that this replica has a row, and what it holds hangs on that."""
        if self._is_sure:
            return
        former, new = list(self._ids), secrets.token_hex(16)
        self._ids.append(new)
        self._given_back = []  # their rows go with the former one
        held = [(name, number) for name, numbers in self._held.items() for number in numbers if number]
        async with connection.transaction():
            await connection.execute(_ENTER, {"id": new, "seconds": LASTING_SECONDS})
            await connection.execute(
                "UPDATE kiro_auth.places SET replica = %s WHERE replica = ANY(%s) AND (name, number) IN "
                "(SELECT * FROM unnest(%s::text[], %s::integer[]))",
                [new, former, *_columns(held)],
            )
            await connection.execute("DELETE FROM kiro_auth.replicas WHERE id = ANY(%s)", [former])
            await connection.execute(
                "INSERT INTO kiro_auth.places (name, number, replica) "
                "SELECT *, %s FROM unnest(%s::text[], %s::integer[]) ON CONFLICT DO NOTHING",
                [new, *_columns(held)],
            )
            found = await connection.execute(
                "SELECT name, number FROM kiro_auth.places WHERE replica = %s", [new]
            )
            kept = set(await found.fetchall())
        self._ids, self._is_sure = [new], True
        if not self._beats:
            self._beats = True
            self._database.keep_running(self._beat())
        self._last_beat = time.monotonic()
        with contextlib.suppress(errors.ForeignKeyViolation):
            for name, number in set(held) - kept:
                await self._take_again(connection, name, number)

    async def _take_again(self, connection: Connection, name: str, lost: int) -> None:
        """Another place for a request under way, if one is free; else there are more of them than allowed.

        It may end meanwhile.
        """
        if not _swap(self._held.get(name, []), lost, None):
            return
        number = await self._number(connection, name, self._limits[name])
        if number is not None and not _swap(self._held.get(name, []), None, number):
            self._given_back.append((name, number))

    async def _beat(self) -> None:
        wait = BEAT_SECONDS
        try:
            while True:
                await asyncio.sleep(random.uniform(0.8, 1.0) * wait)  # noqa: S311 (not a secret)
                try:
                    await self._database.run(self._prolong)
                    wait = BEAT_SECONDS
                except StoreFailed:
                    wait = _AGAIN_SECONDS
        finally:
            with contextlib.suppress(StoreFailed):
                await self._database.run(self._leave)

    async def _prolong(self, connection: Connection) -> None:
        now = time.monotonic()
        was_there = now - self._last_beat < 2 * BEAT_SECONDS
        if self._is_sure:
            done = await connection.execute(
                "UPDATE kiro_auth.replicas SET until = now() + %s * interval '1 second' WHERE id = %s",
                [LASTING_SECONDS, self._ids[-1]],
            )
            self._is_sure = done.rowcount > 0
        await self._register(connection)
        if was_there:
            await connection.execute("DELETE FROM kiro_auth.replicas WHERE until <= now()")
        self._last_beat = now

    async def _leave(self, connection: Connection) -> None:
        await connection.execute("DELETE FROM kiro_auth.replicas WHERE id = ANY(%s)", [self._ids])


def _swap(numbers: list[int | None], old: int | None, new: int | None) -> bool:
    """Put one in place of another; whether that was there."""
    if old not in numbers:
        return False
    numbers[numbers.index(old)] = new
    return True


def _columns(rows: list[tuple[str, int]]) -> tuple[list[str], list[int]]:
    return [name for name, _ in rows], [number for _, number in rows]
