"""What each thing that a replica asks for costs a real PostgreSQL: processor time of the server, measured.

It is the time of the server's processes and not of the clock, so what else the machine does counts little.
The program's own code asks.  The ledger's row and sums are asked for by statements of the same shape.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import psycopg
from msgspec import Struct

from kiro_auth.store.database import Database
from kiro_auth.store.homes import DatabaseHomes
from kiro_auth.store.places import DatabasePlaces
from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.protocol import Credits
from kiro_auth.store.schema import Connection
from support.postgres import KEY, Cluster, cluster, migrated

TIMES = 1500
ACCOUNTS = 500
REPLICAS = 3000
LISTENERS = 40


class Costs(Struct, frozen=True):
    """In microseconds.  `micros` has the kinds of the model; `…_each` is what comes on top for each account
    looked at, replica in the table, row fetched, and listener that a notice goes to.
    """

    machine: str
    micros: dict[str, float]
    look_each: float
    beat_each: float
    fetch_each: float
    notice_each: float
    connection_mb: float

    def sentence(self) -> str:
        kinds = ", ".join(f"{kind} {micros:.0f}" for kind, micros in self.micros.items())
        return (
            f"{kinds}; on top, for each account looked at {self.look_each:.2f}, for each replica in a beat "
            f"{self.beat_each:.2f}, for each row fetched {self.fetch_each:.1f}, for each that hears a notice "
            f"{self.notice_each:.1f}. A connection keeps {self.connection_mb:.1f} MB of the server's memory."
        )


def measured() -> Costs:
    with cluster() as server, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measured(server, Path(folder)))


class Clock:
    """The processor time of all of a server's processes."""

    def __init__(self, server: Cluster) -> None:
        self._server = server

    def seconds(self) -> float:
        nanos = 0
        for process in self._server.processes():
            with contextlib.suppress(OSError):  # it has just ended
                nanos += int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
        return nanos / 1e9

    async def micros(self, work: Callable[[int], Awaitable[object]], times: int = TIMES) -> float:
        """What one of them costs; each is told its number."""
        for number in range(10):
            await work(-1 - number)
        before = self.seconds()
        for number in range(times):
            await work(number)
        return (self.seconds() - before) / times * 1e6


async def _measured(server: Cluster, folder: Path) -> Costs:
    url = migrated(server.new_database("fleet"))
    clock = Clock(server)
    here, there = Database(url), Database(url)
    store = PostgresStore(url, [KEY], folder / "locks")
    try:
        micros = await _of_requests(clock, here, there)
        micros["ledger"] = await _of_the_ledger(clock, here)
        beat, beat_each = await _of_beats(clock, here)
        look, look_each, fetch, fetch_each = await _of_looks(clock, store, url)
        micros |= await _of_accounts(clock, store)
        notice_each = await _of_notices(clock, url)
        memory = _memory(server)
    finally:
        for opened in (here, there, store):
            opened.close()
    micros |= {"beat": beat, "look": look, "fetch": fetch}
    return Costs(_machine(server), micros, look_each, beat_each, fetch_each, notice_each, memory)


async def _of_requests(clock: Clock, here: Database, there: Database) -> dict[str, float]:
    places, others, homes = DatabasePlaces(here), DatabasePlaces(there), DatabaseHomes(here)

    async def until_done(_: Connection) -> None:
        """What was asked for before is done by then."""

    async def give_back(number: int) -> None:
        places.release(f"account:{number}")
        await here.call(until_done)

    async def settle(number: int) -> None:
        homes.settle(f"session {number}", "an account")
        await here.call(until_done)

    await others.take("full", 1)
    return {
        "take": await clock.micros(lambda number: places.take(f"account:{number}", 4)),
        "give back": await clock.micros(give_back),
        "refused take": await clock.micros(lambda _: places.take("full", 1)),
        "settle": await clock.micros(settle),
        "home": await clock.micros(lambda number: homes.home(f"session {number}")),
    }


_LEDGER = (
    "CREATE TABLE turns (id text PRIMARY KEY, ended float8, credits float8, words text[])",
    "CREATE TABLE gone (id text PRIMARY KEY)",
    "CREATE TABLE spent (scope text, name text, day text, credits numeric, PRIMARY KEY (scope, name, day))",
)


async def _of_the_ledger(clock: Clock, database: Database) -> float:
    """A transaction that enters a turn of 14 fields, which was not forgotten, and adds it to three sums."""
    words = ["claude-sonnet-4-5", "anthropic", "an account", "a session", "a project", "a caller"] * 2

    async def make(connection: Connection) -> None:
        for statement in _LEDGER:
            await connection.execute(statement)

    async def enter(number: int) -> None:
        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO turns VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id",
                    [f"request {number}", 1.8e9, 0.25, words],
                )
                await connection.execute("SELECT id FROM gone WHERE id = ANY(%s)", [[f"request {number}"]])
                await connection.execute(
                    "INSERT INTO spent SELECT *, %s FROM unnest(%s::text[], %s::text[], %s::text[]) "
                    "ON CONFLICT (scope, name, day) DO UPDATE SET credits = spent.credits + excluded.credits "
                    "RETURNING credits",
                    [
                        Decimal("0.25"),
                        ["session", "project", "caller"],
                        [f"s{number % 20}", "p", "c"],
                        [""] * 3,
                    ],
                )

        await database.call(work)

    await database.call(make)
    return await clock.micros(enter)


async def _of_beats(clock: Clock, database: Database) -> tuple[float, float]:
    places = DatabasePlaces(database)
    await places.take("account:beating", 1)

    async def beat(_: int) -> None:
        await database.call(places._prolong)

    async def add_others(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO kiro_auth.replicas SELECT 'r' || n, now() + interval '1 day' "
            "FROM generate_series(1, %s) AS n",
            [REPLICAS],
        )

    alone = await clock.micros(beat, 500)
    await database.call(add_others)
    return alone, (await clock.micros(beat, 500) - alone) / REPLICAS


async def _of_looks(clock: Clock, store: PostgresStore, url: str) -> tuple[float, float, float, float]:
    record = {"accessToken": "t" * 900, "refreshToken": "r" * 900, "label": "An account", "expiresAt": 1}

    async def look(_: int) -> None:
        await store.load()

    async def after_changes_of(ids: str, times: int) -> float:
        """What a look costs in which these are fetched."""
        spent = 0.0
        with psycopg.connect(url, autocommit=True) as connection:
            for _ in range(times):
                connection.execute(
                    "UPDATE kiro_auth.accounts SET revision = revision + 1 WHERE id LIKE %s", [ids]
                )
                before = clock.seconds()
                await store.load()
                spent += clock.seconds() - before
        return spent / times * 1e6

    await store.add({**record, "id": "a0"})
    alone = await clock.micros(look, 500)
    one = max(0.0, await after_changes_of("a0", 200) - alone)
    for number in range(1, ACCOUNTS):
        await store.add({**record, "id": f"a{number}"})
    of_all = await clock.micros(look, 500)
    each = (await after_changes_of("%", 20) - of_all) / ACCOUNTS
    return alone, (of_all - alone) / ACCOUNTS, max(0.0, one - each), each


async def _of_accounts(clock: Clock, store: PostgresStore) -> dict[str, float]:
    ten = {f"a{number}": Credits(0.25, 0.25) for number in range(10)}
    of_one = await clock.micros(lambda _: store.add_credits({"a0": Credits(0.25, 0.25)}), 500)
    of_ten = await clock.micros(lambda _: store.add_credits(ten), 500)
    each = (of_ten - of_one) / 9
    return {
        "credits": of_one - each,
        "credits of an account": each,
        "change": await clock.micros(lambda number: store.change("a0", {"n": number}), 500),
    }


async def _of_notices(clock: Clock, url: str) -> float:
    """On top for each listener; what it looks at then is a look."""
    with contextlib.ExitStack() as opened:
        notifier = opened.enter_context(psycopg.connect(url, autocommit=True))

        async def notify(_: int) -> None:
            notifier.execute("NOTIFY fleet")

        alone = await clock.micros(notify, 300)
        for _ in range(LISTENERS):
            listener = opened.enter_context(psycopg.connect(url, autocommit=True))
            listener.execute("LISTEN fleet")
        return (await clock.micros(notify, 300) - alone) / LISTENERS


def _memory(server: Cluster) -> float:
    """The memory that a connection's process has for itself, in MB: the median of all."""
    sizes = []
    for process in server.processes()[1:]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if b": kiro fleet" in Path(f"/proc/{process}/cmdline").read_bytes():
                rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
                sizes.append(sum(map(int, re.findall(r"Private_\w+:\s+(\d+)", rollup))) / 1024)
    return statistics.median(sizes)


def _machine(server: Cluster) -> str:
    version = server.execute("SHOW server_version")[0][0].split()[0]
    return f"PostgreSQL {version} on {os.cpu_count()} processors ({platform.machine()}), without fsync."
