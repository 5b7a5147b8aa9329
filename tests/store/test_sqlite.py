"""Accounts in one SQLite file: what only such a store has, beside what holds for any."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.sqlite import SqliteKeys
from kiro_auth.store import sqlite_file, sqlite_places
from kiro_auth.store.lately_full import LatelyFull
from kiro_auth.store.protocol import Places
from kiro_auth.store.sealed import Sealer
from kiro_auth.store.sqlite import FILE, SqliteStore
from kiro_auth.store.sqlite_file import STEPS, SqliteFile
from kiro_auth.store.sqlite_places import SqlitePlaces
from kiro_auth.store.written import Writing

TESTS = Path(__file__).parents[1]
KEY, OTHER_KEY = bytes(range(32)), bytes(32)
SOON = 60.0


def opened(folder: Path, *keys: bytes) -> SqliteStore:
    return SqliteStore(folder, folder / "locks", Writing(Sealer(list(keys)) if keys else None))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = opened(tmp_path)
    yield store
    store.close()


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@contextlib.contextmanager
def holder(folder: Path, name: str, limit: int, times: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds places, and how many it got."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.holding_place", str(folder), name, str(limit), str(times)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


# --------------------------------------------------------------------------------------- the file


async def test_reading_creates_nothing_and_all_files_are_this_users_alone(
    store: SqliteStore, tmp_path: Path
) -> None:
    assert store.snapshot().accounts == (await store.load()).accounts == ()
    assert await store.places.count("account:a") == 0
    assert await store.homes.home("s") is None
    assert not await store.remove("a")
    await store.clear_leftovers()
    assert list(SqliteKeys(store.file).keys()) == SqliteKeys(store.file).audit() == []
    assert list(tmp_path.iterdir()) == []

    await store.add({"id": "a"})
    store.snapshot()

    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert found == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


async def test_a_file_that_others_could_read_is_closed_to_them_at_its_next_use(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.add({"id": "a"})
    store.close()
    (tmp_path / FILE).chmod(0o644)

    again = opened(tmp_path)

    assert again.snapshot().record("a") == {"id": "a"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    again.close()


async def test_no_byte_of_a_removed_accounts_tokens_is_left(store: SqliteStore, tmp_path: Path) -> None:
    another = opened(tmp_path)
    await store.add({"id": "b", "refreshToken": "stays" * 99})
    await store.add({"id": "a", "refreshToken": "secret-1" * 99})
    await another.change("a", {"refreshToken": "secret-2" * 700})
    await another.change_usage("a", {"x": "secret-3"})
    another.snapshot()
    assert b"secret-2" in bytes_in(tmp_path)

    assert await store.remove("a")

    assert b"secret" not in bytes_in(tmp_path)
    assert another.snapshot().accounts == ({"id": "b", "refreshToken": "stays" * 99},)
    another.close()


async def test_programs_that_make_the_file_at_once_make_it_once(tmp_path: Path) -> None:
    stores = [opened(tmp_path) for _ in range(12)]

    await asyncio.gather(*(store.add({"id": str(number)}) for number, store in enumerate(stores)))

    for store in stores:
        assert {record["id"] for record in store.snapshot().accounts} == {str(n) for n in range(12)}
        store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        assert connection.execute("pragma user_version").fetchone() == (len(STEPS),)


async def test_a_file_that_is_no_database_and_what_is_no_file_are_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    store = opened(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreFailed, match="damaged") as found:
            store.snapshot()
        assert str(tmp_path / FILE) in found.value.failure.message
        with pytest.raises(StoreFailed, match="damaged"):
            await store.add({"id": "a"})

    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(StoreFailed, match="it is a folder"):
        store.snapshot()
    (tmp_path / FILE).rmdir()
    await store.add({"id": "a"})  # and all is well again
    assert store.snapshot().record("a")
    store.close()


async def test_a_file_that_was_moved_away_or_put_back_is_seen_by_a_program_that_runs(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.add({"id": "a"})
    store.file.empty_log()
    copy = (tmp_path / FILE).read_bytes()
    await store.add({"id": "b"})
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()

    assert store.snapshot().accounts == ()
    (tmp_path / FILE).write_bytes(copy)
    assert store.snapshot().accounts == ({"id": "a"},)
    await store.change("a", {"x": 1})
    assert store.snapshot().accounts == ({"id": "a", "x": 1},)


async def test_with_a_full_disk_a_change_fails_in_plain_words_and_all_stays_as_it_was(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.add({"id": "a", "n": 0})
    writer = store.file._writer._connection
    assert writer is not None
    pages = writer.execute("pragma page_count").fetchone()[0]
    writer.execute(f"pragma max_page_count = {pages}")

    with pytest.raises(StoreFailed, match="the disk is full"):
        await store.change("a", {"n": "x" * 50_000})

    assert store.snapshot().accounts == ({"id": "a", "n": 0},)
    assert await store.change("a", {"n": 2}) == {"id": "a", "n": 2}


async def test_another_program_that_writes_for_long_keeps_no_reader_waiting(
    store: SqliteStore, tmp_path: Path
) -> None:
    await store.add({"id": "a", "n": 0})
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        changing = asyncio.create_task(store.change("a", {"n": 1}))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        for _ in range(100):
            assert store.snapshot().record("a") == {"id": "a", "n": 0}
        assert await store.homes.home("s") is None
        assert time.monotonic() - began < 10  # the other would be waited for as long as it writes
        assert not changing.done()
        other.execute("commit")

    assert await changing == {"id": "a", "n": 1}


# ------------------------------------------------------------------------------------ what it costs


async def test_a_snapshot_of_what_did_not_change_asks_for_no_row_and_a_change_is_read_alone(
    store: SqliteStore, tmp_path: Path
) -> None:
    another = opened(tmp_path)
    await asyncio.gather(*(store.add({"id": f"{n}"}) for n in range(300)))
    before = another.snapshot()
    asked: list[str] = []
    read: list[str] = []
    reader = another.file._reader._connection
    assert reader is not None
    reader.set_trace_callback(asked.append)
    opening = another._writing.read
    another._writing.read = lambda text, name: (read.append(name), opening(text, name))[1]  # type: ignore[method-assign]

    for _ in range(10):
        assert another.snapshot() is before
    assert set(asked) == {"pragma data_version"}
    await store.change("17", {"n": 1})
    after = another.snapshot()

    assert read == ["17"]
    assert after.accounts[16] is before.accounts[16]
    assert after.record("17") == {"id": "17", "n": 1}
    assert after.usage is before.usage
    plans = [
        str(row)
        for statement in asked
        if statement.lower().startswith("select") and "where" in statement
        for row in reader.execute(f"explain query plan {statement}").fetchall()
    ]
    assert [("SEARCH" in plan, "SCAN" in plan) for plan in plans] == [(True, False)], plans
    another.close()


@pytest.mark.slow
async def test_ten_thousand_accounts_are_added_and_changed_one_by_one_in_seconds(store: SqliteStore) -> None:
    """Over the files each of these single changes writes 30 MB anew."""
    secret = "s" * 900
    rows = [{"id": f"{n:032}", "accessToken": secret, "refreshToken": secret} for n in range(10_000)]
    began = time.process_time()  # in which others have no part

    await asyncio.gather(*(store.add(row) for row in rows))
    for row in rows[::100]:
        await store.change(row["id"], {"state": "ready"})
        await store.change_usage(row["id"], {"usedCount": 1})
        assert (store.snapshot().record(row["id"]) or {})["state"] == "ready"

    assert time.process_time() - began < 30
    assert len(store.snapshot().usage) == 100


@pytest.mark.parametrize("seed", range(5))
async def test_what_a_program_sees_is_what_all_have_changed(tmp_path: Path, seed: int) -> None:
    """An oracle tells it from the steps alone, order included; one removed and added again comes last."""
    chance = random.Random(seed)
    stores = [opened(tmp_path) for _ in range(3)]
    records: dict[str, dict[str, Any]] = {}
    usage: dict[str, dict[str, Any]] = {}
    for step in range(80):
        store, name = chance.choice(stores), chance.choice("abcdef")
        match chance.randrange(5):
            case 0 if name not in records:
                await store.add({"id": name, "step": step})
                records[name] = {"id": name, "step": step}
            case 1 if chance.random() < 0.6:
                assert await store.remove(name) == (records.pop(name, None) is not None)
                usage.pop(name, None)
            case 2:
                await store.change(name, {"step": step})
                if name in records:
                    records[name] = {"id": name, "step": step}
            case 3:
                await store.change_usage(name, {"step": step})
                if name in records:
                    usage[name] = {"step": step}
        if chance.random() < 0.5:
            seen = chance.choice(stores).snapshot()
            assert list(seen.accounts) == list(records.values())
            assert seen.usage == usage
            assert seen.by_id == records
    for store in stores:
        store.close()


# ----------------------------------------------------------------------------------------- sealing


async def test_with_a_key_nothing_of_an_account_is_in_clear_and_without_it_nobody_reads_it(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path, KEY)
    await store.add({"id": "a", "refreshToken": "secret-token", "email": "ada@example.com"})
    await store.change_usage("a", {"email": "ada@example.com"})

    text = bytes_in(tmp_path)
    assert (b"secret-token" in text, b"ada@" in text) == (False, False)
    assert store.count_old() == 0
    for reader, words in [(opened(tmp_path), "no key is set"), (opened(tmp_path, OTHER_KEY), "another key")]:
        for _ in range(2):
            with pytest.raises(StoreFailed, match=words):
                reader.snapshot()
        with pytest.raises(StoreFailed, match=words):
            await reader.change("a", {"x": 1})
        reader.close()
    store.close()


async def test_what_was_in_clear_or_under_an_older_key_is_sealed_anew_and_stays_the_same(
    tmp_path: Path,
) -> None:
    for keys in [(), (KEY,), (OTHER_KEY, KEY), (OTHER_KEY,)]:
        store = opened(tmp_path, *keys)
        if not keys:
            await store.add({"id": "a", "x": 1})
            await store.change_usage("a", {"y": 2})
        assert store.count_old() == int(keys in [(KEY,), (OTHER_KEY, KEY)])
        await store.write_anew()
        assert store.count_old() == 0
        assert (store.snapshot().accounts, store.snapshot().usage) == (
            ({"id": "a", "x": 1},),
            {"a": {"y": 2}},
        )
        store.close()


# ------------------------------------------------------------------------------- keys of clients


def test_keys_are_read_again_only_when_they_changed(store: SqliteStore, tmp_path: Path) -> None:
    here, there = SqliteKeys(store.file), SqliteKeys(SqliteFile(tmp_path / FILE))
    Changes(there, "ada", 1.0).create("ann", Limits())
    keys = here.keys()

    asyncio.run(store.add({"id": "a"}))
    assert here.keys() is keys
    Changes(there, "ada", 2.0).revoke("ann")
    after = here.keys()
    assert [key.revoked for key in after] == [2.0]
    there._file.close()


# ------------------------------------------------------------------------------------------ places


@pytest.mark.slow
async def test_no_more_hold_places_than_the_limit_says_however_many_programs_take_them_at_once(
    tmp_path: Path,
) -> None:
    chance = random.Random(1)
    limits = {"account:a": 1, "account:b": 3, "account:c": 7}
    held: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def use(places: Places) -> None:
        for _ in range(3):
            name = chance.choice(sorted(limits))
            while not await places.take(name, limits[name]):
                await places.freed()
            held[name] += 1
            most[name] = max(most[name], held[name])
            while most[name] < limits[name]:  # all places are taken once, however slowly the others come
                await asyncio.sleep(0.01)
            await asyncio.sleep(chance.uniform(0, 0.02))
            held[name] -= 1
            places.release(name)

    stores = [opened(tmp_path) for _ in range(5)]
    await asyncio.wait_for(asyncio.gather(*(use(store.places) for store in stores for _ in range(8))), 40)

    assert most == Counter(limits)
    for name in limits:
        end = time.monotonic() + SOON
        while await stores[0].places.count(name):
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
    for store in stores:
        store.close()


@pytest.mark.outside
async def test_a_killed_process_loses_its_places_at_once_and_one_that_lives_never(
    store: SqliteStore, tmp_path: Path
) -> None:
    with (
        holder(tmp_path, "account:a", 3, 2) as (first, got),
        holder(tmp_path, "account:a", 3, 2) as (_, rest),
    ):
        assert (got, rest) == (2, 1)
        places = store.places
        assert isinstance(places, SqlitePlaces)
        places._full = LatelyFull(20, 20)  # a moment that lasts on a busy machine
        assert not await places.take("account:a", 3)
        assert list(places.full) == ["account:a"]
        assert await store.places.count("account:a") == 3

        first.kill()
        first.wait()

        assert [await store.places.take("account:a", 3) for _ in range(3)] == [True, True, False]
        assert await store.places.count("account:a") == 3
    assert await store.places.count("account:a") == 2
    lives = [path.name for path in (tmp_path / "locks").iterdir()]
    assert len(lives) == 1, "the locks of processes that ended are removed"


@pytest.mark.outside
async def test_nothing_is_left_of_programs_that_ended_after_the_next_start(
    store: SqliteStore, tmp_path: Path
) -> None:
    with holder(tmp_path, "account:a", 3, 2), holder(tmp_path, "account:b", 3, 0):
        pass  # both are killed
    with holder(tmp_path, "account:a", 3, 1):
        await store.clear_leftovers()
        with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
            assert connection.execute("select name, taken from places").fetchall() == [("account:a", 1)]
        assert len(list((tmp_path / "locks").glob("process-*"))) == 1


async def test_places_that_cannot_be_written_for_a_while_are_right_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_places, "_AGAIN_SECONDS", 0.1)
    another = opened(tmp_path)  # which has its usual patience, as the store writes again meanwhile
    monkeypatch.setattr(sqlite_file, "_WRITE_SECONDS", 0.05)
    store = opened(tmp_path)
    assert await store.places.take("account:a", 1)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("begin immediate")
        store.places.release("account:a")
        with pytest.raises(StoreFailed, match=r"writes in .* for long"):
            await store.places.take("account:a", 1)
        other.execute("commit")

    async with asyncio.timeout(SOON):
        while not await another.places.take("account:a", 1):
            await another.places.freed()
    for each in (store, another):
        each.close()


async def test_another_program_knows_the_home_nobody_reads_the_conversations_id_and_old_ones_go(
    store: SqliteStore, tmp_path: Path
) -> None:
    another = opened(tmp_path)
    store.homes.settle("session-of-ada\udc00", "a")
    async with asyncio.timeout(SOON):
        while await another.homes.home("session-of-ada\udc00") != "a":
            await asyncio.sleep(0.01)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        assert connection.execute("select length(session), account from homes").fetchall() == [(32, "a")]
        connection.execute("update homes set used = used - 30")
        assert await another.homes.home("session-of-ada\udc00") == "a"  # which is a request of today
        await another.places.take("account:a", 1)  # behind it
        await another.clear_leftovers()
        assert connection.execute("select count(*) from homes").fetchall() == [(1,)]
        connection.execute("update homes set used = used - 31")
        await another.clear_leftovers()
        assert connection.execute("select count(*) from homes").fetchall() == [(0,)]
    another.close()
