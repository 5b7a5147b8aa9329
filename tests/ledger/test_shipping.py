"""Turns on their way to the database: at once, all of them, each counted once, whatever is away meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger import shipping, sums
from kiro_auth.ledger.matter import Matter
from kiro_auth.ledger.protocol import Change, Charged
from kiro_auth.ledger.reading import series, totals
from kiro_auth.ledger.row import Row, row_of
from kiro_auth.ledger.shipping import Shipping
from kiro_auth.ledger.sums import Wanted
from support.examples import examples
from support.ledgers import Ledgers
from support.postgres import Cluster
from support.promptly import assert_in_time
from support.turns import turn_ended

NOW = 1_800_000_000.0
TODAY = f"{datetime.fromtimestamp(NOW, UTC):%Y-%m-%d}"
SHOP = Matter(session="s", project="shop", caller="owner")
ASKED = replace(turn_ended().asked, session="s")
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from kiro_auth.ledger.postgres import PostgresLedger
from kiro_auth.store.database import Database
from support.turns import turn_ended

async def main():
    ledger = PostgresLedger(sys.argv[1], Database(sys.argv[1]), Path(sys.argv[2]))
    recorder = ledger.recorder(counts=True, on_counted=lambda *_: None, on_trouble=print)
    for number in range(int(sys.argv[4])):
        recorder.on_turn_ended(turn_ended(when=1.8e9, metered=1, request_id=f"{sys.argv[3]}-{number}"))
        await asyncio.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


class Gateways:
    """Gateways on one database, as far as they record."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.server = server
        self.ledgers = Ledgers("database", folder, lambda: server, lambda: NOW)
        self.opened: list[Shipping] = []
        self.troubles: list[Failure] = []
        self.heard: list[tuple[Sequence[Charged], Sequence[Change]]] = []
        self.count = itertools.count()

    def another(self, machine: str = "here") -> Shipping:
        recorder = self.ledgers.another(machine).recorder(
            counts=True,
            on_counted=lambda charged, changes: self.heard.append((charged, changes)),
            on_trouble=self.troubles.append,
        )
        assert isinstance(recorder, Shipping)
        self.opened.append(recorder)
        return recorder

    def spend(self, gateway: Shipping, metered: float = 1.0, **fields: Any) -> None:
        usual = {"when": NOW, "project": "shop", "asked": ASKED, "request_id": f"req_{next(self.count)}"}
        gateway.on_turn_ended(turn_ended(metered=metered, **(usual | fields)))

    def ids(self) -> list[str]:
        return [name for (name,) in self.select("SELECT request_id FROM kiro_auth.ledger")]

    def sum_of(self, scope: str) -> Decimal:
        found = self.select(f"SELECT sum(credits) FROM kiro_auth.sums WHERE scope = '{scope}'")
        return found[0][0] or Decimal(0)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        return self.server.execute(query, self.ledgers.url.rpartition("/")[2])


@pytest.fixture
async def gateways(postgres: Cluster, tmp_path: Path) -> AsyncIterator[Gateways]:
    gateways = Gateways(postgres, tmp_path)
    yield gateways
    for gateway in gateways.opened:
        await gateway.close()
    gateways.ledgers.close()


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


async def seconds_to_fail(asking: Awaitable[object]) -> float:
    """How long it is waited for a database that does not answer."""
    began = time.monotonic()
    with pytest.raises(StoreFailed, match="KA-DATABASE"):
        await asking
    return time.monotonic() - began


async def test_what_one_gateway_spent_refuses_at_another_within_a_moment(gateways: Gateways) -> None:
    """It takes milliseconds; the machine of the test may be busy, so the middle of several is looked at.

    Turns that waited for a clock, be it that of a second try, would take half a second.
    """
    here, there = gateways.another("here"), gateways.another("there")
    await there.spent(SHOP, ["day"])
    took = []
    for number in range(1, 16):
        began = time.monotonic()
        gateways.spend(here, 0.1)
        while (await there.spent(SHOP, ["day"]))["day"] < number / 10:
            assert time.monotonic() - began < 30
        took.append(time.monotonic() - began)

    assert sorted(took)[len(took) // 2] < shipping._AGAIN_SECONDS / 2, took
    assert min(took) < 0.05, took  # nothing in it always takes longer, however busy the machine is
    assert await there.spent(SHOP, ["day", "session", "project", "key"]) == dict.fromkeys(
        ("day", "session", "project", "key"), 1.5
    )


async def test_a_gateway_knows_its_own_turns_at_once(gateways: Gateways) -> None:
    here = gateways.another()
    for number in range(1, 50):
        gateways.spend(here, 0.1)
        assert (await here.spent(SHOP, ["day"]))["day"] == number / 10


async def test_the_gateway_hears_of_its_own_turns_with_the_sums_of_all(gateways: Gateways) -> None:
    here, there = gateways.another("here"), gateways.another("there")
    gateways.spend(here, 0.5, request_id="mine")
    await until(lambda: gateways.heard)
    gateways.spend(there, 0.25, request_id="another's")
    await until(lambda: len(gateways.heard) == 2)

    charged, changes = gateways.heard[1]
    assert charged == [Charged("another's", 0.25, 0.75)]
    assert {change.scope: (change.before, change.after) for change in changes} == dict.fromkeys(
        ("day", "session", "project", "key"), (0.5, 0.75)
    )


async def test_while_the_database_is_away_no_turn_waits_and_none_is_lost(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    here = gateways.another()
    gateways.spend(here)
    await until(lambda: len(gateways.ids()) == 1)
    caplog.set_level(logging.INFO, "kiro_auth.ledger")
    with gateways.server.stopped():
        waits = [seconds(partial(gateways.spend, here)) for _ in range(1200)]
        assert_in_time(waits, 0.5)
        assert sum(each > 0.5 for each in waits) <= 3, "a busy machine stops a moment, not again and again"
        assert_in_time([await seconds_to_fail(here.spent(SHOP, ["day"])) for _ in range(3)], 2)
        await until(lambda: "wait in the spool" in caplog.text)

    await until(lambda: len(gateways.ids()) == 1201)
    await until(lambda: "has the turns that waited" in caplog.text)
    assert gateways.sum_of("day") == 1201
    assert caplog.text.count("wait in the spool") == 1
    assert gateways.troubles == []


async def test_a_gateway_that_has_many_turns_to_send_knows_all_of_them_as_soon_as_it_knows_any(
    gateways: Gateways,
) -> None:
    here = gateways.another()
    with gateways.server.stopped():
        for _ in range(1200):
            gateways.spend(here)
    spent = None
    while spent is None:
        with contextlib.suppress(StoreFailed):
            spent = await here.spent(SHOP, ["day"])
        await asyncio.sleep(0.01)

    assert spent == {"day": 1200}


async def test_a_database_that_is_frozen_is_waited_for_no_longer_than_two_seconds(
    gateways: Gateways,
) -> None:
    here = gateways.another()
    gateways.spend(here)
    await until(gateways.ids)
    # Each asks by itself: for a moment after a failure the same one would not ask again.
    several = [here, gateways.another(), gateways.another()]
    with gateways.server.frozen():
        gateways.spend(here)
        assert_in_time([await seconds_to_fail(each.spent(SHOP, ["day"])) for each in several], 2)
        reading = partial(asyncio.to_thread, totals, by="day")
        assert_in_time([await seconds_to_fail(reading(gateways.ledgers.another())) for _ in range(3)], 2)
    await until(lambda: len(gateways.ids()) == 2)


async def test_what_a_gateway_could_not_send_before_its_end_the_next_one_sends(gateways: Gateways) -> None:
    here = gateways.another()
    with gateways.server.stopped():
        for _ in range(5):
            gateways.spend(here)
        await here.close()
        assert list(gateways.ledgers.folder.rglob("*.jsonl"))
        following = gateways.another()
    await until(lambda: len(gateways.ids()) == 5)
    await following.close()
    assert not list(gateways.ledgers.folder.rglob("*.jsonl"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sender", ["that runs beside them", "that starts after them"])
async def test_processes_that_are_killed_as_they_write_lose_no_turn(
    gateways: Gateways, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sender == "that runs beside them":
        monkeypatch.setattr(shipping, "_LOOK_SECONDS", 0.2)  # of ten
        gateways.another()
    chance, folder = random.Random(19), gateways.ledgers.folder / "here" / "spool"
    names = list[str]()
    for number in range(2):
        count = chance.randrange(1, 400)
        arguments = (gateways.ledgers.url, str(folder), f"p{number}", str(count))
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", KILLED, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert done.returncode == -signal.SIGKILL
        names += [f"p{number}-{turn}" for turn in range(count)]
    if not gateways.opened:
        gateways.another()
    await until(lambda: len(gateways.ids()) >= len(names))

    assert sorted(gateways.ids()) == sorted(names)
    assert gateways.sum_of("key") == len(names)


async def test_gateways_on_one_state_folder_leave_each_other_s_turns_alone(gateways: Gateways) -> None:
    """As the user's gateway and those of `kiro-auth run` do."""
    first, second = gateways.another(), gateways.another()
    for number in range(100):
        gateways.spend((first, second)[number % 2])
        if number == 50:
            await first.close()
            first = gateways.another()
    await until(lambda: len(gateways.ids()) == 100)

    assert gateways.sum_of("day") == 100
    await until(lambda: sum(len(charged) for charged, _ in gateways.heard) >= 100)
    heard = [turn.request_id for charged, _ in gateways.heard for turn in charged]
    assert sorted(heard) == sorted(gateways.ids())


async def test_turns_that_can_be_written_nowhere_wait_in_memory_and_people_are_told_once(
    gateways: Gateways, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "spool").write_text("a file in the place of the folder")
    here = gateways.another()
    with gateways.server.stopped():
        for _ in range(3):
            gateways.spend(here)
    await until(lambda: len(gateways.ids()) == 3)
    (tmp_path / "here" / "spool").unlink()
    gateways.spend(here)
    await until(lambda: len(gateways.ids()) == 4)

    [trouble] = gateways.troubles
    assert (trouble.code, "spool cannot be written" in trouble.message) == ("KA-STORE", True)
    assert gateways.sum_of("day") == 4


async def test_a_row_that_the_database_cannot_take_costs_no_other(
    gateways: Gateways, caplog: pytest.LogCaptureFixture
) -> None:
    here = gateways.another()
    with gateways.server.stopped():
        for model in ("good", "b\0d", "good"):
            gateways.spend(here, asked=replace(ASKED, model=model))
        bad = replace(row_of(turn_ended(request_id="bad")), surface="b\0d")
        here._unwritten.append(bad)
    await until(lambda: "lost by a defect" in caplog.text)
    await until(lambda: len(gateways.ids()) == 3)


async def test_rows_and_sums_that_are_too_old_go(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "_TRIM_EVERY", 2)
    here, day = gateways.another(), 86400
    for number, days in enumerate([401, 399, 31, 29]):
        gateways.spend(here, when=NOW - days * day, asked=replace(ASKED, session=str(number)))
        await here.spent(SHOP, ["day"])
    await until(lambda: len(gateways.ids()) == 3)
    await until(
        lambda: gateways.select("SELECT name FROM kiro_auth.sums WHERE scope = 'session'") == [("3",)]
    )
    assert gateways.sum_of("day") == 3


# -------------------------------------------------------------------- each once, and exactly so

SPENT = st.builds(
    lambda number, session, project, metered, days: replace(
        row_of(turn_ended(when=NOW - days * 86400, request_id=f"req_{number}")),
        session=session, project=project, credits=metered,
    ),
    st.integers(0, 12),
    st.sampled_from([None, "s-1", "s-2"]),
    st.sampled_from([None, "shop", "blog"]),
    st.sampled_from([None, 0.0, 0.1, 0.25, 1e-6, 12.3]),
    st.integers(0, 2),
)  # fmt: skip
SHIPMENTS = st.lists(st.lists(SPENT, max_size=6), max_size=6)


@pytest.fixture(scope="module")
def database(postgres: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ledgers = Ledgers("database", tmp_path_factory.mktemp("ledger"), lambda: postgres, lambda: NOW)
    yield ledgers.url
    ledgers.close()


@settings(max_examples=examples(80), deadline=None)
@given(ours=SHIPMENTS, theirs=SHIPMENTS)
def test_whatever_two_send_at_once_and_again_each_turn_is_there_and_counted_once(
    database: str, ours: list[list[Row]], theirs: list[list[Row]]
) -> None:
    """Both may send the same turns, in parts that overlap, as after a kill."""
    known: dict[str, Row] = {}
    for rows in (*ours, *theirs):  # a request id is one turn's
        rows[:] = [known.setdefault(row.request_id, row) for row in rows]

    async def send(shipments: list[list[Row]]) -> list[Row]:
        connection = await psycopg.AsyncConnection.connect(database, autocommit=True)
        async with connection:
            new = [(await sums.add(connection, rows)).rows for rows in shipments if rows]
        return [row for rows in new for row in rows]

    async def run() -> tuple[list[Row], list[float]]:
        connection = await psycopg.AsyncConnection.connect(database, autocommit=True)
        async with connection:
            await connection.execute("DELETE FROM kiro_auth.ledger")
            await connection.execute("DELETE FROM kiro_auth.sums")
            new = await asyncio.gather(send(ours), send(theirs), send(ours))
            spent = await sums.spent(connection, WANTED)
        return [row for rows in new for row in rows], spent

    new, spent = asyncio.run(run())
    assert sorted(row.request_id for row in new) == sorted(known)
    expected = defaultdict[tuple[str, str | None, int], Decimal](Decimal)
    for row in known.values():
        for scope, name in (
            ("day", ""),
            ("session", row.session),
            ("project", row.project),
            ("key", "owner"),
        ):
            expected[scope, name, round((NOW - row.when) / 86400)] += Decimal(str(row.credits or 0))
    for wanted, credits_ in zip(WANTED, spent, strict=True):
        days = {0, 1, 2} if wanted.scope == "session" or wanted.since < NOW - 86400 else {0}
        assert credits_ == float(sum(expected[wanted.scope, wanted.name, days_] for days_ in days)), wanted


async def test_a_turn_that_comes_again_the_moment_it_is_forgotten_counts_once(database: str) -> None:
    first, again = (row_of(turn_ended(when=NOW, metered=2, request_id=id_, project="shop")) for id_ in "ax")
    async with contextlib.AsyncExitStack() as opened:
        one, other, looking = [
            await opened.enter_async_context(await psycopg.AsyncConnection.connect(database, autocommit=True))
            for _ in range(3)
        ]
        await looking.execute("DELETE FROM kiro_auth.sums")
        await sums.add(one, [again])
        async with other.transaction(force_rollback=True):
            await sums.add(other, [first])
            adding = asyncio.create_task(sums.add(one, [first, again]))  # waits before it comes to the second
            async with asyncio.timeout(20):
                while await waiting_for_others(looking) < 1:
                    await asyncio.sleep(0.02)
            await sums.forget(looking)
        await adding
        found = await looking.execute("SELECT credits FROM kiro_auth.sums WHERE scope = 'project'")
        assert await found.fetchall() == [(4,)]


async def test_two_that_send_the_same_turns_in_opposite_orders_do_not_wait_in_a_circle(database: str) -> None:
    """Each has entered some when it comes to a turn in the middle, which a third enters and takes back."""
    rows = [row_of(turn_ended(when=NOW, request_id=f"req_{number:03}")) for number in range(100)]
    async with contextlib.AsyncExitStack() as opened:
        one, other, third, looking = [
            await opened.enter_async_context(await psycopg.AsyncConnection.connect(database, autocommit=True))
            for _ in range(4)
        ]
        async with third.transaction(force_rollback=True):
            await sums.add(third, [rows[50]])
            adding = asyncio.gather(sums.add(one, rows), sums.add(other, rows[::-1]))
            async with asyncio.timeout(20):
                while await waiting_for_others(looking) < 2:
                    await asyncio.sleep(0.01)
        added = await adding
    assert sum(len(each.rows) for each in added) == len(rows)


async def waiting_for_others(connection: psycopg.AsyncConnection[Any]) -> int:
    """How many statements wait for another transaction."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row else 0


MIDNIGHT = NOW - NOW % 86400
WANTED = [
    Wanted(scope, name, since)  # type: ignore[arg-type]
    for scope, name in [("day", ""), ("session", "s-1"), ("session", "s-2"), ("project", "shop"),
                        ("project", "blog"), ("key", "owner"), ("key", "nobody")]
    for since in (MIDNIGHT, MIDNIGHT - 2 * 86400)
    if scope != "session" or since < MIDNIGHT
]  # fmt: skip


async def test_a_hundred_thousand_turns_are_summed_up_while_a_person_waits(gateways: Gateways) -> None:
    """As the dashboard and `usage --by` do."""
    gateways.select(
        "INSERT INTO kiro_auth.ledger (request_id, ended, caller, surface, seconds, attempts, repairs,"
        f" outcome, project, credits) SELECT i::text, {NOW} - i * 30, 'owner', '/', 1, '[]', '[]',"
        " 'answered', 'p' || i % 20, 0.5 FROM generate_series(1, 100000) AS i"
    )
    ledger = gateways.ledgers.another()
    took = []
    for read in (
        lambda: totals(ledger, by="project"),
        lambda: totals(ledger, by="day"),
        lambda: series(ledger, by="project", since=NOW - 30 * 86400),
    ):
        times = []
        for _ in range(2):  # one of them may meet a moment in which the machine is busy
            began = time.monotonic()
            rows = await asyncio.to_thread(read)
            times.append(time.monotonic() - began)
        took.append(min(times))
        assert sum(row.credits for row in rows) == pytest.approx(
            50_000 if len(took) < 3 else 43_200, rel=0.001
        )
    assert max(took) < 10  # 0.1 to 0.8 seconds where nothing else runs
