"""How many use a thing at a time, and where a conversation stays: of one process, or of all replicas."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.store import database, homes, places
from kiro_auth.store.database import Database
from kiro_auth.store.files import FileStore
from kiro_auth.store.homes import DatabaseHomes
from kiro_auth.store.lately_full import LatelyFull
from kiro_auth.store.local import LocalPlaces
from kiro_auth.store.places import DatabasePlaces
from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.protocol import Places, Store
from kiro_auth.store.sqlite import SqliteStore
from kiro_auth.store.written import Writing
from support.postgres import KEY, Cluster, cluster, migrated
from support.promptly import assert_in_time

SOON = 60.0
LASTING = 5.0
"""Seconds that a row lasts without a beat, where time is one factor."""


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    with cluster() as server:
        yield server


class Replicas:
    """Programs on one empty database, each with a connection of its own."""

    def __init__(self, server: Cluster) -> None:
        self.server = server
        self.name = f"d{os.urandom(6).hex()}"
        self.url = migrated(server.new_database(self.name))
        self._closing = contextlib.ExitStack()
        self.databases: list[Database] = []
        self._connection = psycopg.connect(self.url, autocommit=True)

    def new(self) -> DatabasePlaces:
        opened = Database(self.url)
        self.databases.append(opened)
        self._closing.callback(opened.close)
        return DatabasePlaces(opened)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            found = self._connection.execute(statement.encode())
        except psycopg.OperationalError:  # the server was started again
            self._connection = psycopg.connect(self.url, autocommit=True)
            found = self._connection.execute(statement.encode())
        return found.fetchall() if found.description else []

    def used(self, name: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM kiro_auth.places WHERE name = '{name}'")[0][0])

    def remove(self, replica: DatabasePlaces) -> None:
        """As another's beat does after fifteen seconds without one of its own."""
        ids = ", ".join(f"'{id_}'" for id_ in replica._ids)
        self.rows(f"DELETE FROM kiro_auth.replicas WHERE id IN ({ids})")

    def close(self) -> None:
        self._closing.close()
        self._connection.close()


@pytest.fixture
def replicas(server: Cluster) -> Iterator[Replicas]:
    replicas = Replicas(server)
    yield replicas
    replicas.close()


@pytest.fixture(params=["local", "sqlite", "postgres"])
def these(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    if request.param == "local":
        yield LocalPlaces()
        return
    if request.param == "sqlite":
        store = SqliteStore(tmp_path, tmp_path / "locks", Writing(None))
        yield store.places
        store.close()
        return
    replicas = Replicas(request.getfixturevalue("server"))
    yield replicas.new()
    replicas.close()


async def until(is_so: Callable[[], object], seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def taken_once_it_answers(replica: Places, name: str, limit: int) -> bool:
    """For a database that was away: it is asked again half a second later."""
    async with asyncio.timeout(SOON):
        while True:
            with contextlib.suppress(StoreFailed):
                return await replica.take(name, limit)
            await asyncio.sleep(0.05)


# ------------------------------------------------------------------------------- wherever they are


async def test_so_many_are_taken_as_the_limit_says_and_one_more_with_each_that_is_given_back(
    these: Places,
) -> None:
    taken = [await these.take("account:a", 3) for _ in range(5)]
    others = [await these.take("account:b", 1), await these.take("key:a", 1)]
    these.release("account:a")
    after = [await these.take("account:a", 3) for _ in range(2)]

    assert taken == [True, True, True, False, False]
    assert others == [True, True]
    assert after == [True, False]


async def test_a_limit_that_was_lowered_counts_those_that_are_there(these: Places) -> None:
    for _ in range(10):
        assert await these.take("account:a", 10)
    for _ in range(8):
        these.release("account:a")

    assert not await these.take("account:a", 2)
    these.release("account:a")
    assert await these.take("account:a", 2)


async def test_who_waits_gets_a_place_soon_after_one_is_given_back(these: Places) -> None:
    async def wait() -> None:
        while not await these.take("account:a", 1):
            await these.freed()

    assert await these.take("account:a", 1)
    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    for _ in waiting:
        await asyncio.sleep(0.05)
        these.release("account:a")
        done, _ = await asyncio.wait(waiting, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        waiting.remove(done.pop())


async def test_who_leaves_while_it_takes_a_place_holds_none(these: Places) -> None:
    for number in range(40):
        task = asyncio.create_task(these.take("account:a", 1))
        await asyncio.sleep(number % 20 / 20_000)
        task.cancel()
        if await asyncio.gather(task, return_exceptions=True) == [True]:
            these.release("account:a")

    async with asyncio.timeout(SOON):
        while not await these.take("account:a", 1):
            await these.freed()


# ------------------------------------------------------------------------------ among replicas


async def test_a_request_that_has_lost_its_place_is_counted_as_the_first_that_ends(
    replicas: Replicas,
) -> None:
    for number in range(6):  # which place is lost is chance
        name, here, there = f"account:{number}", replicas.new(), replicas.new()
        assert [await here.take(name, 2), await here.take(name, 2)] == [True, True]
        replicas.remove(here)
        assert await there.take(name, 2)
        assert not await here.take(name, 0)
        await asyncio.wrap_future(replicas.databases[-2].submit(notice(here)))
        assert replicas.used(name) == 2

        here.release(name)
        assert not await here.take("no such", 0)  # behind it

        assert replicas.used(name) == 2  # one here, one there


async def notice(replica: DatabasePlaces) -> None:
    """As with its next beat."""
    await replica._database.run(replica._prolong)


async def test_what_is_given_back_is_free_though_the_engine_has_the_statement_done_again(
    replicas: Replicas,
) -> None:
    replicas.rows(f"ALTER DATABASE {replicas.name} SET default_transaction_isolation = 'repeatable read'")
    here = replicas.new()
    assert await here.take("account:a", 1)
    with psycopg.connect(replicas.url) as other:
        other.execute("UPDATE kiro_auth.places SET number = number")
        here.release("account:a")
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
        await until(lambda: replicas.rows(waits))

    await until(lambda: replicas.used("account:a") == 0)


async def test_who_leaves_just_as_the_place_is_taken_holds_none_and_nothing_else_is_disturbed(
    replicas: Replicas,
) -> None:
    here = replicas.new()
    database_ = replicas.databases[0]
    task = asyncio.create_task(here.take("account:a", 1))
    await asyncio.sleep(0)
    await_in_this_thread(lambda: replicas.used("account:a"))  # this loop hears of it later
    busy = database_.submit(database_.run(lambda connection: connection.execute("SELECT pg_sleep(0.3)")))
    await_in_this_thread(database_._turn.locked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    names = [f"account:{number}" for number in range(5)]
    assert await asyncio.gather(*(here.take(name, 1) for name in names)) == [True] * len(names)
    await asyncio.wrap_future(busy)
    await until(lambda: replicas.used("account:a") == 0)


def await_in_this_thread(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + SOON
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


async def test_no_more_hold_places_than_the_limit_says_however_many_replicas_take_them_at_once(
    replicas: Replicas,
) -> None:
    random_ = random.Random(1)
    limits = {"account:a": 1, "account:b": 3, "account:c": 7}
    held: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def use(places_: Places) -> None:
        name = random_.choice(sorted(limits))
        while not await places_.take(name, limits[name]):
            await places_.freed()
        held[name] += 1
        most[name] = max(most[name], held[name])
        while most[name] < limits[name]:  # all places are taken once, however slowly the others come
            await asyncio.sleep(0.01)
        await asyncio.sleep(random_.uniform(0.03, 0.06))
        held[name] -= 1
        places_.release(name)

    several = [replicas.new() for _ in range(5)]
    await asyncio.wait_for(asyncio.gather(*(use(places_) for places_ in several for _ in range(12))), 40)

    assert most == Counter(limits)
    await until(lambda: replicas.rows("SELECT * FROM kiro_auth.places") == [])


async def test_connections_that_break_at_any_moment_give_nobody_a_place_too_many_and_leave_none_behind(
    replicas: Replicas,
) -> None:
    random_ = random.Random(2)
    limits = {"account:a": 2, "account:b": 5}
    held: Counter[str] = Counter()
    failed = served = 0

    def goes_on() -> bool:
        return failed < 20 or served < 100

    async def use(places_: Places) -> None:
        nonlocal failed, served
        while goes_on():
            name = random_.choice(sorted(limits))
            try:
                if not await places_.take(name, limits[name]):
                    await places_.freed()
                    continue
            except StoreFailed:
                failed += 1
                await asyncio.sleep(0.1)
                continue
            served += 1
            held[name] += 1
            assert held[name] <= limits[name]
            await asyncio.sleep(random_.uniform(0, 0.05))
            held[name] -= 1
            places_.release(name)

    async def break_them() -> None:
        while goes_on():
            await asyncio.sleep(random_.uniform(0, 0.3))
            # It ends by itself where it is, whatever it does.
            replicas.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND datname = current_database() ORDER BY random() LIMIT 1"
            )

    several = [replicas.new() for _ in range(3)]
    await asyncio.gather(break_them(), *(use(places_) for places_ in several for _ in range(6)))

    await until(lambda: replicas.rows("SELECT * FROM kiro_auth.places") == [])  # with a beat


async def test_a_name_that_others_use_up_is_known_as_full_for_a_moment(replicas: Replicas) -> None:
    here, there = replicas.new(), replicas.new()
    there._full = LatelyFull(1, 1)  # a moment that lasts on a busy machine
    assert await here.take("account:a", 1)

    assert not await there.take("account:a", 1)

    assert list(there.full) == ["account:a"]
    assert list(here.full) == []
    await there.freed()
    assert list(there.full) == []


class Oracle:
    """What the rows must be, told from the steps alone: by name, the replica and whether its row is there.

    None: it has none, and will have none, as another had it when this one noticed.
    """

    LIMITS: Final = {"account:a": 2, "account:b": 3}

    def __init__(self, count: int) -> None:
        self.held: dict[tuple[str, int], list[bool | None]] = {
            (name, number): [] for name in self.LIMITS for number in range(count)
        }
        self.knows = [True] * count  # no row of it was removed, or it has noticed

    def rows(self, name: str) -> int:
        return sum(held.count(True) for (held_name, _), held in self.held.items() if held_name == name)

    def remove(self, number: int) -> None:
        for (_, holder), held in self.held.items():
            if holder == number:
                held[:] = [None if has_row is None else False for has_row in held]
                self.knows[number] = False

    def notice(self, number: int) -> None:
        """It takes places again for what it holds, as far as some are free."""
        if self.knows[number]:
            return
        self.knows[number] = True
        for (name, holder), held in self.held.items():
            for index in range(len(held)) if holder == number else ():
                if held[index] is False:
                    held[index] = self.rows(name) < self.LIMITS[name] or None

    def take(self, number: int, name: str) -> bool:
        if self.rows(name) >= self.LIMITS[name]:
            return False  # without a row to insert it notices nothing
        self.notice(number)
        is_free = self.rows(name) < self.LIMITS[name]
        if is_free:
            self.held[name, number].append(True)
        return is_free


async def step(
    replicas: Replicas, several: list[DatabasePlaces], oracle: Oracle, chance: random.Random
) -> None:
    number = chance.randrange(len(several))
    name = chance.choice(sorted(oracle.LIMITS))
    match chance.random():
        case roll if roll < 0.55:
            assert await several[number].take(name, oracle.LIMITS[name]) == oracle.take(number, name)
        case roll if roll < 0.9:
            held = oracle.held[name, number]
            # Which of several is given back is not said; here those with a row are all alike.
            if held and all(held):
                held.pop()
                several[number].release(name)
                await several[number].take("no such", 0)  # behind it
        case _:
            replicas.remove(several[number])
            oracle.remove(number)


@pytest.mark.parametrize("seed", range(10))
async def test_the_rows_are_as_an_oracle_says_whatever_replicas_do_and_whoever_is_removed(
    replicas: Replicas, seed: int
) -> None:
    chance = random.Random(seed)
    several = [replicas.new() for _ in range(3)]
    oracle = Oracle(len(several))
    for places_ in several:
        assert not await places_.take("no such", 0)
    for _ in range(60):
        await step(replicas, several, oracle, chance)
        for name, limit in oracle.LIMITS.items():
            assert replicas.used(name) == oracle.rows(name) <= limit


# --------------------------------------------------------------------- beats, and who misses them


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats a twelfth as long, and rows a third; `test_places_of_a_killed_gateway` has them as they are.

    A beat may come four seconds late, as on a busy machine, and nobody loses anything.
    """
    monkeypatch.setattr(places, "BEAT_SECONDS", 0.4)
    monkeypatch.setattr(places, "LASTING_SECONDS", LASTING)
    monkeypatch.setattr(places, "_AGAIN_SECONDS", 0.2)


async def frozen(thaw: threading.Event) -> None:
    """In a database's thread: nothing of it goes on, as in a machine that was suspended."""
    thaw.wait(60)


@pytest.mark.usefixtures("fast")
async def test_what_a_replica_holds_stays_its_own_while_it_beats(replicas: Replicas) -> None:
    here, there = replicas.new(), replicas.new()
    assert await here.take("account:a", 1)
    assert await there.take("account:b", 1)
    ids = here._ids[-1], there._ids[-1]
    end = time.monotonic() + LASTING + 1

    while time.monotonic() < end:
        assert not await there.take("account:a", 1)
        await there.freed()
    assert (here._ids[-1], there._ids[-1]) == ids, "nor was one of them removed for a moment"


@pytest.mark.usefixtures("fast")
async def test_a_frozen_replica_loses_its_places_notices_it_and_takes_nothing_of_others_away(
    replicas: Replicas,
) -> None:
    here, there = replicas.new(), replicas.new()
    assert await here.take("account:a", 2)
    assert await here.take("account:a", 2)
    assert await here.take("account:b", 1)
    assert await there.take("other", 1)
    before = here._ids[-1]
    thaw = threading.Event()
    freezing = replicas.databases[0].submit(frozen(thaw))

    async with asyncio.timeout(LASTING + SOON):
        while not await there.take("account:a", 2):
            await there.freed()
    thaw.set()
    await asyncio.wrap_future(freezing)
    await until(lambda: here._ids[-1] != before)
    await until(lambda: replicas.used("account:b") == 1)  # it was free, and is taken again

    assert replicas.used("account:a") == 2  # three use it: one there, two here
    here.release("account:a")
    here.release("account:a")
    await until(lambda: replicas.used("account:a") == 1)
    assert await here.take("account:a", 2)
    assert not await here.take("account:a", 2)
    there.release("account:a")
    await until(lambda: replicas.used("account:a") == 1)


@pytest.mark.usefixtures("fast")
async def test_when_the_database_was_away_nobody_lost_a_place_and_all_that_was_given_back_is_free(
    replicas: Replicas,
) -> None:
    here, there = replicas.new(), replicas.new()
    for _ in range(2):
        assert await here.take("account:a", 3)
    assert await there.take("account:a", 3)
    ids = [here._ids[-1], there._ids[-1]]
    with replicas.server.stopped():
        here.release("account:a")
        waits = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(StoreFailed, match="KA-DATABASE"):
                await there.take("account:a", 3)
            waits.append(time.monotonic() - began)
        assert_in_time(waits, 2)
        await asyncio.sleep(LASTING + 1)

    await until(lambda: replicas.used("account:a") == 2)
    assert await taken_once_it_answers(there, "account:a", 3)
    assert not await there.take("account:a", 3)
    await until(lambda: not {here._ids[-1], there._ids[-1]} & set(ids))  # both are sure again
    await asyncio.sleep(0.5)
    assert replicas.used("account:a") == 3


async def test_who_comes_back_last_after_the_database_was_away_is_not_removed_by_who_came_first(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who comes first removes rows with its second beat, three seconds later: so late may the other one be.
    for name, seconds in [("BEAT_SECONDS", 4.0), ("LASTING_SECONDS", LASTING), ("_AGAIN_SECONDS", 0.2)]:
        monkeypatch.setattr(places, name, seconds)
    monkeypatch.setattr(database, "_REST", 0.05)
    last, first = replicas.new(), replicas.new()
    assert await last.take("account:a", 1)
    assert await first.take("account:b", 1)
    before = last._ids[-1]
    thaw = threading.Event()

    with replicas.server.stopped():
        freezing = replicas.databases[0].submit(frozen(thaw))
        await asyncio.sleep(8.2)
    beats = "SELECT id FROM kiro_auth.replicas WHERE until > now()"
    await until(lambda: replicas.rows(beats) == [(first._ids[-1],)])
    await asyncio.sleep(0.1)
    thaw.set()
    await asyncio.wrap_future(freezing)

    await until(lambda: len(replicas.rows(beats)) == 2)
    assert last._ids[-1] == before
    assert not await first.take("account:a", 1)


async def test_an_answer_that_never_came_leaves_no_place_behind(replicas: Replicas) -> None:
    here = replicas.new()
    assert await here.take("account:a", 2)
    with replicas.server.frozen(), pytest.raises(StoreFailed, match="KA-DATABASE"):
        await here.take("account:a", 2)  # the database does it all the same once it goes on

    assert await taken_once_it_answers(here, "account:a", 2)
    assert not await here.take("account:a", 2)
    here.release("account:a")
    here.release("account:a")
    await until(lambda: replicas.used("account:a") == 0)


async def test_a_replica_that_ends_leaves_nothing_behind(replicas: Replicas) -> None:
    here = replicas.new()
    assert await here.take("account:a", 1)

    await asyncio.to_thread(replicas.databases[0].close)

    assert replicas.rows("SELECT * FROM kiro_auth.replicas") == []
    assert replicas.rows("SELECT * FROM kiro_auth.places") == []
    here.release("account:a")  # raises nothing


# ------------------------------------------------------------------------------------------ homes


@pytest.fixture(params=["files", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "files":
        yield FileStore(tmp_path, tmp_path / "locks")
        return
    if request.param == "sqlite":
        in_file = SqliteStore(tmp_path, tmp_path / "locks", Writing(None))
        yield in_file
        in_file.close()
        return
    url = migrated(request.getfixturevalue("server").new_database(f"d{os.urandom(6).hex()}"))
    store = PostgresStore(url, [KEY], tmp_path / "locks")
    yield store
    store.close()


async def test_a_conversation_stays_where_it_was_settled_last(store: Store) -> None:
    store.homes.settle("s", "a")
    store.homes.settle("t", "b")
    store.homes.settle("s", "c")
    store.homes.settle(None, "d")

    assert [await store.homes.home(session) for session in ("s", "t", "u", None)] == ["c", "b", None, None]


async def test_another_replica_knows_the_home_and_nobody_reads_the_conversations_id(
    replicas: Replicas,
) -> None:
    here, there = (DatabaseHomes(Database(replicas.url)) for _ in range(2))
    here.settle("session-of-ada\udc00", "a")
    assert await here.home("session-of-ada\udc00") == "a"

    assert await there.home("session-of-ada\udc00") == "a"
    (row,) = replicas.rows("SELECT * FROM kiro_auth.homes")
    assert b"ada" not in bytes(row[0])
    assert len(row[0]) == 32
    for each in (here, there):
        each._database.close()


async def test_a_conversation_without_requests_for_thirty_days_is_forgotten(
    replicas: Replicas, tmp_path: Path
) -> None:
    store = PostgresStore(replicas.url, [KEY], tmp_path / "locks")
    days = (0, homes.UNUSED_DAYS, homes.UNUSED_DAYS + 1)
    for number in days:
        store.homes.settle(f"s{number}", "a")
    assert await store.homes.home("s0")
    with psycopg.connect(replicas.url, autocommit=True) as connection:
        for number in days:
            connection.execute(
                "UPDATE kiro_auth.homes SET used = current_date - %s::integer WHERE session = %s",
                [number, homes._hashed(f"s{number}")],
            )
    assert await store.homes.home(f"s{homes.UNUSED_DAYS}") == "a"  # which is a request of today

    await store.clear_leftovers()

    assert [await store.homes.home(f"s{number}") for number in days] == ["a", "a", None]
    assert replicas.rows("SELECT count(*) FROM kiro_auth.homes WHERE used = current_date") == [(2,)]
    store.close()
