"""What holds for any store: changes are there, none is lost to another, and a lease has one holder."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.failures import StoreFailed
from kiro_auth.store.apart import Apart
from kiro_auth.store.ephemeral import WithEphemeral
from kiro_auth.store.files import USAGE, FileStore
from kiro_auth.store.protocol import Credits, Store, StoreBusy
from kiro_auth.store.sealed import Sealer
from kiro_auth.store.sqlite import SqliteStore
from kiro_auth.store.system_keyring import SystemKeyring
from kiro_auth.store.written import Writing
from support.examples import examples
from support.keyrings import MemoryKeyring
from support.postgres import KEY, Stores, cluster
from support.promptly import assert_in_time

Opened = Callable[[Path], Store]
"""A store on what lies in a folder, opened once more with every call: what another process would have."""


def files(folder: Path) -> Store:
    return FileStore(folder, folder / "locks")


def with_ephemeral(folder: Path) -> Store:
    return WithEphemeral(files(folder), {"id": "environment"})


SERVER = ExitStack()
"""Holds the database server of this process, from the first test that needs it to the last of all."""


@pytest.fixture(scope="session", autouse=True)
def server_that_ends() -> Iterator[None]:
    with SERVER:
        yield


@cache
def stores() -> Stores:
    stores = Stores(SERVER.enter_context(cluster()).url())
    SERVER.callback(stores.close)
    return stores


def postgres(folder: Path) -> Store:
    return stores().opened(folder)


@lru_cache(maxsize=1)
def keyring_of(folder: Path) -> MemoryKeyring:
    """One for all stores of a folder, as programs of one user have."""
    return MemoryKeyring()


def with_keyring(folder: Path) -> Store:
    keyring = keyring_of(folder)
    return FileStore(folder, folder / "locks", Apart(SystemKeyring(lambda: keyring), keeps_new=lambda: True))


def sqlite(folder: Path) -> Store:
    return SqliteStore(folder, folder / "locks", Writing(None))


def sealed_sqlite(folder: Path) -> Store:
    return SqliteStore(folder, folder / "locks", Writing(Sealer([KEY])))


IN_DATABASE = pytest.param(postgres, marks=pytest.mark.outside)
STORES = [files, with_ephemeral, sqlite, sealed_sqlite, IN_DATABASE, with_keyring]


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest) -> Opened:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def store(opened: Opened, tmp_path: Path) -> Store:
    return opened(tmp_path)


# ---------------------------------------------------------------------------------------- changes


async def test_a_snapshot_has_ones_own_change_and_a_load_has_that_of_another(
    opened: Opened, tmp_path: Path
) -> None:
    here, there = opened(tmp_path), opened(tmp_path)
    await here.add({"id": "a", "n": 0})

    for number in range(1, 20):
        after = await here.change("a", {"n": number, "refreshToken": f"token {number}"})
        assert here.snapshot().record("a") == after
        assert (await there.load()).record("a") == after
        assert there.snapshot().record("a") == after


async def test_a_snapshot_does_not_change_with_the_store(store: Store) -> None:
    await store.add({"id": "a", "n": 0})
    before = store.snapshot()

    await store.change("a", {"n": 1})

    assert before.record("a") == {"id": "a", "n": 0}


async def test_what_did_not_change_is_the_same_object(store: Store) -> None:
    await store.add({"id": "a"})
    before = store.snapshot()

    await store.change_usage("a", {"usedCount": 1})

    assert store.snapshot().accounts is before.accounts
    assert store.snapshot() == store.snapshot() != before


async def test_an_id_is_added_once(store: Store) -> None:
    await store.add({"id": "a"})

    for account_id in ("a", *(str(record["id"]) for record in store.snapshot().accounts)):
        with pytest.raises(ValueError, match="is there already"):
            await store.add({"id": account_id})


async def test_none_removes_a_field_and_others_stay(store: Store) -> None:
    await store.add({"id": "a", "x": 1, "y": 2})

    after = await store.change("a", {"x": None, "neverThere": None, "z": 3})

    assert after == store.snapshot().record("a") == {"id": "a", "y": 2, "z": 3}


async def test_of_an_account_that_is_gone_nothing_is_kept(store: Store) -> None:
    await store.add({"id": "a"})
    await store.change_usage("a", {"usedCount": 1})

    assert await store.remove("a")
    await store.change_usage("a", {"usedCount": 2})
    await store.add_credits({"a": Credits(1, 1)})
    await store.note_active("a")

    assert not await store.remove("a")
    assert await store.change("a", {"x": 1}) is None
    found = await store.load()
    assert found.record("a") is None
    assert (dict(found.usage), found.active) == ({}, None)


async def test_the_account_in_use_is_noted_until_it_is_removed(store: Store) -> None:
    for name in "abc":
        await store.add({"id": name})

    await store.note_active("b")
    await store.remove("a")
    assert store.snapshot().active == "b"
    await store.remove("b")
    assert store.snapshot().active is None


async def test_credits_that_many_add_at_once_are_all_there(opened: Opened, tmp_path: Path) -> None:
    stores = [opened(tmp_path) for _ in range(4)]
    for name in "ab":
        await stores[0].add({"id": name})
    await stores[0].change_usage("a", {"usedCount": 7, "limitCount": 50})

    metered = {"a": Credits(0.5, 0.25), "b": Credits(1, 1)}
    await asyncio.gather(*(store.add_credits(metered) for store in stores for _ in range(5)))

    assert (await stores[0].load()).usage == {
        "a": {"usedCount": 7, "limitCount": 50, "creditsSince": 10, "lastTurnCredits": 0.25},
        "b": {"creditsSince": 20, "lastTurnCredits": 1},
    }


@pytest.mark.parametrize("opened", [files, with_ephemeral, with_keyring])
async def test_usage_that_is_not_known_takes_no_account_along(opened: Opened, tmp_path: Path) -> None:
    await opened(tmp_path).add({"id": "a"})
    (tmp_path / USAGE).write_text("[]")

    found = opened(tmp_path).snapshot()

    assert found.record("a") == {"id": "a"}
    assert (dict(found.usage), found.usage_failure is None) == ({}, False)
    with pytest.raises(StoreFailed, match="does not hold a JSON object"):
        found.usage_rows()


async def test_the_account_of_the_environment_is_changed_in_memory_only(
    tmp_path: Path,
) -> None:
    store = with_ephemeral(tmp_path)
    await store.change("environment", {"state": "quota"}, if_unchanged={"state": None})
    await store.change("environment", {"state": "ready"}, if_unchanged={"state": None})
    await store.add_credits({"environment": Credits(2, 1)})
    await store.change_usage("environment", {"usedCount": 5})

    found = await store.load()
    assert found.record("environment") == {"id": "environment", "state": "quota"}
    assert found.usage["environment"] == {"creditsSince": 2, "lastTurnCredits": 1, "usedCount": 5}
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- compare and swap

VALUES = st.none() | st.integers(0, 2) | st.sampled_from(["", "one", "two"])
FIELDS = st.sampled_from(["x", "accessToken", "refreshToken"])
CHANGES = st.tuples(
    st.sampled_from(["a", "environment", "gone"]),
    st.dictionaries(FIELDS, VALUES, max_size=2),
    st.none() | st.dictionaries(FIELDS, VALUES, max_size=2),
)


@pytest.mark.parametrize("opened", STORES)
@settings(max_examples=examples(25), deadline=None)
@given(changes=st.lists(CHANGES, max_size=8))
def test_a_change_is_made_if_and_only_if_nothing_that_it_relies_on_changed(
    opened: Opened, changes: list[tuple[str, dict[str, Any], dict[str, Any] | None]]
) -> None:
    async def run(folder: Path) -> None:
        store = opened(folder)
        await store.add({"id": "a"})
        model = {str(record["id"]): dict(record) for record in store.snapshot().accounts}
        for account_id, fields, unchanged in changes:
            row = model.get(account_id)
            if row is not None and all(row.get(key) == value for key, value in (unchanged or {}).items()):
                row.update(fields)
                model[account_id] = row = {key: value for key, value in row.items() if value is not None}
            assert await store.change(account_id, fields, if_unchanged=unchanged) == row
        assert {str(record["id"]): record for record in store.snapshot().accounts} == model

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@pytest.mark.parametrize("opened", STORES)
@settings(max_examples=examples(5), deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_of_those_that_swap_the_same_value_at_once_one_succeeds(opened: Opened, counts: list[int]) -> None:
    """Each counts one up, so often: none is lost, whoever is in between.

    A swap is known by its number: the address of an object may be another's a moment later.
    """
    numbers = itertools.count(1)

    async def count(store: Store, times: int) -> None:
        while times:
            before = ((await store.load()).record("a") or {})["n"]
            me = next(numbers)
            after = await store.change("a", {"n": before + 1, "by": me}, if_unchanged={"n": before})
            assert after is not None
            times -= after["by"] == me

    async def run(folder: Path) -> int:
        stores = [opened(folder) for _ in counts]
        await stores[0].add({"id": "a", "n": 0, "by": 0})
        await asyncio.gather(*(count(store, times) for store, times in zip(stores, counts, strict=True)))
        return int((stores[0].snapshot().record("a") or {})["n"])

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(run(Path(folder))) == sum(counts)


# ----------------------------------------------------------------------------------------- leases

MARGIN = 0.02
"""By how many seconds the clocks of a lease and of its holder may differ."""
LASTING = st.one_of(st.floats(0, 0.05), st.floats(0, 0.05), st.just(0.3))
HOLDERS = st.lists(
    st.tuples(st.floats(0, 0.05), LASTING, st.sampled_from([0.25, 5.0]), st.booleans()),
    min_size=2,
    max_size=5,
)


@pytest.mark.parametrize("opened", STORES)
@settings(max_examples=examples(15), deadline=None)
@given(holders=HOLDERS)
def test_a_lease_has_one_holder_and_all_who_wait_get_it(
    opened: Opened, holders: list[tuple[float, float, float, bool]]
) -> None:
    """Each comes after a while, and holds it for a while or until it expires; some are cancelled meanwhile.

    When it begins is known to the store alone.  So it counts as held from when its holder hears of it, until
    as long after its question as it lasts: however late a busy machine tells the holder, it is held then.
    """
    held: list[tuple[float, float]] = []

    async def hold(store: Store, after: float, lasts: float, seconds: float) -> None:
        await asyncio.sleep(after)
        asked = time.monotonic()
        async with store.lease("work", seconds, wait=20):
            begin = time.monotonic()
            try:
                await asyncio.sleep(lasts)
            finally:
                end = min(time.monotonic(), asked + seconds - MARGIN)
                held.append((begin, max(begin, end)))

    async def run(folder: Path) -> None:
        tasks = []
        for after, lasts, seconds, leaves in holders:
            task = asyncio.create_task(hold(opened(folder), after, lasts, seconds))
            tasks.append(task)
            if leaves:
                asyncio.get_running_loop().call_later(after + lasts / 2, task.cancel)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result, (*_, leaves) in zip(results, holders, strict=True):
            assert result is None or (leaves and isinstance(result, asyncio.CancelledError))
        async with opened(folder).lease("work", 1):
            pass

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
    held.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(held)), held


async def test_a_lease_that_is_held_is_refused_at_once_or_after_the_wait(
    opened: Opened, tmp_path: Path
) -> None:
    here, there = opened(tmp_path), opened(tmp_path)
    async with here.lease("refresh-a", 60):
        beyond = []
        for store in (here, there):
            for wait in (0.0, 0.2):
                began = time.monotonic()
                with pytest.raises(StoreBusy, match="refresh-a"):
                    async with store.lease("refresh-a", 60, wait=wait):
                        pass
                beyond.append(time.monotonic() - began - wait)
        assert min(beyond) >= 0
        assert_in_time(beyond, 2)
        async with there.lease("refresh-b", 60):
            pass
    async with there.lease("refresh-a", 60):
        pass


async def test_a_lease_that_is_over_is_anothers_though_its_holder_goes_on(
    opened: Opened, tmp_path: Path
) -> None:
    asked = time.monotonic()
    async with opened(tmp_path).lease("work", 0.2), opened(tmp_path).lease("work", 60, wait=30):
        assert time.monotonic() - asked > 0.2 - MARGIN


async def test_who_gives_up_waiting_leaves_the_lease_to_others(opened: Opened, tmp_path: Path) -> None:
    async def take() -> None:
        async with opened(tmp_path).lease("work", 60, wait=10):
            await asyncio.Event().wait()

    for number in range(30):
        task = asyncio.create_task(take())
        await asyncio.sleep(number / 10_000)
        task.cancel()
        await asyncio.wait([task])

    async with opened(tmp_path).lease("work", 60, wait=20):  # a third of what it would be held for
        pass
