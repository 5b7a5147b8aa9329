"""What holds for the database store alone: tables, seals, notices, and what it does without its database."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.failures import ConfigFailed, StoreFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store import database as database_module
from kiro_auth.store import mirror
from kiro_auth.store.ahead import AheadFiles
from kiro_auth.store.copying import copy
from kiro_auth.store.database import Database
from kiro_auth.store.files import FileStore
from kiro_auth.store.postgres import PostgresStore, migrate
from kiro_auth.store.protocol import Credits, Renewed, StoreBusy
from kiro_auth.store.schema import STEPS
from kiro_auth.store.sealed import Sealer, read_keys
from support.postgres import KEY, Cluster, listening
from support.promptly import assert_in_time

CONFIG = config.load(environment={}, folder=Path("/nowhere"))
ACCOUNT = {"id": "a", "accessToken": "access-0", "refreshToken": "refresh-0", "expiresAt": 1}


@pytest.fixture(scope="module")
def server(postgres: Cluster) -> Cluster:
    return postgres


class Databases:
    """Empty databases of one server, and stores on them."""

    def __init__(self, server: Cluster, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.url = server.new_database(f"d{os.urandom(6).hex()}")
        self.opened: list[PostgresStore] = []

    def store(self, *keys: bytes, machine: str = "here") -> PostgresStore:
        store = PostgresStore(self.url, list(keys or (KEY,)), self.folder / machine / "locks")
        self.opened.append(store)
        return store


@pytest.fixture
def databases(server: Cluster, tmp_path: Path) -> Iterator[Databases]:
    databases = Databases(server, tmp_path)
    yield databases
    for store in databases.opened:
        store.close()


# ------------------------------------------------------------------------------------- migrations


async def test_of_many_that_migrate_at_once_each_step_is_made_by_one(databases: Databases) -> None:
    made = await asyncio.gather(*(migrate(databases.url) for _ in range(8)))

    assert sorted(step for steps in made for step in steps) == list(range(1, len(STEPS) + 1))
    assert await migrate(databases.url) == []


async def test_a_step_that_was_left_half_made_is_made_whole(databases: Databases) -> None:
    """A migration was killed in the middle, where no transaction holds the parts of a step together."""
    assert await migrate(databases.url) == list(range(1, len(STEPS) + 1))
    with psycopg.connect(databases.url, autocommit=True) as connection:
        connection.execute("DROP TABLE kiro_auth.notes")
        connection.execute("DELETE FROM kiro_auth.steps")

    assert await migrate(databases.url) == list(range(1, len(STEPS) + 1))
    await databases.store().note_active("nobody")


async def test_a_database_without_tables_names_the_command_that_makes_them(databases: Databases) -> None:
    with pytest.raises(StoreFailed, match="kiro-auth store migrate"):
        databases.store().snapshot()
    await migrate(databases.url)
    assert (await databases.store().load()).accounts == ()


async def test_tables_of_a_newer_release_are_used(databases: Databases) -> None:
    """Two releases share a database while gateways are replaced one after the other."""
    await migrate(databases.url)
    with psycopg.connect(databases.url, autocommit=True) as connection:
        connection.execute("INSERT INTO kiro_auth.steps (number) VALUES (9999)")
        connection.execute("ALTER TABLE kiro_auth.accounts ADD COLUMN later text")

    await databases.store().add(ACCOUNT)

    assert databases.store().snapshot().accounts == (ACCOUNT,)


# ------------------------------------------------------------------------------------------ seals


def test_what_is_sealed_opens_for_its_account_and_its_key_alone() -> None:
    sealer = Sealer([KEY])
    sealed = sealer.seal(ACCOUNT, "a")

    assert sealer.open(sealed, "a") == ACCOUNT
    assert sealer.seal(ACCOUNT, "a") != sealed
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for other, account_id, words in [
        (sealer.seal(ACCOUNT, "b"), "a", "changed by another hand"),
        (changed, "a", "changed by another hand"),
        (Sealer([bytes(32)]).seal(ACCOUNT, "a"), "a", "another key"),
        (b"", "a", "changed by another hand"),
        (b"\x02" + sealed[1:], "a", "changed by another hand"),
    ]:
        with pytest.raises(StoreFailed, match=words):
            sealer.open(other, account_id)


def test_keys_are_read_of_variable_and_file_and_named_when_they_are_none(tmp_path: Path) -> None:
    key, other = "A" * 43 + "=", "B" * 42 + "A="
    file = tmp_path / "key"
    file.write_text(f"{other}\n")
    both = {"KIRO_STORE_KEY": key, "KIRO_STORE_KEY_FILE": str(file)}

    assert read_keys(both) == [bytes(32), b"\x04\x10A" * 10 + b"\x04\x10"]
    for environment, words in [
        ({}, "no key for it is set"),
        ({"KIRO_STORE_KEY": "c2hvcnQ="}, "not base64 of 32 bytes"),
        ({"KIRO_STORE_KEY": "*" * 44}, "not base64 of 32 bytes"),
        ({"KIRO_STORE_KEY_FILE": str(tmp_path / "none")}, "cannot be read"),
    ]:
        with pytest.raises(ConfigFailed, match=words) as raised:
            read_keys(environment)
        assert not set(environment.values()) & set(str(raised.value).split()), "a key is quoted"


async def test_a_new_key_opens_nothing_alone_and_everything_once_sealed_anew(databases: Databases) -> None:
    await migrate(databases.url)
    old, new = KEY, bytes(32)
    first = databases.store(old)
    for name in "abc":
        await first.add({"id": name, "accessToken": name})
    await first.add_credits({"b": Credits(2, 1)})
    before = await first.load()

    with pytest.raises(StoreFailed, match="sealed with another key"):
        await databases.store(new).load()
    both = databases.store(new, old)
    assert await both.count_old() == 3
    assert await both.seal_anew() == 3
    assert await both.count_old() == 0

    after = await databases.store(new).load()
    assert (after.accounts, after.usage) == (before.accounts, before.usage)


async def test_a_key_is_changed_in_the_order_of_the_documentation_while_gateways_read_and_write(
    databases: Databases,
) -> None:
    """Each is started again with the next keys in its turn; all write, and all read what others wrote."""
    await migrate(databases.url)
    old, new = KEY, bytes(32)
    await databases.store(old).add(ACCOUNT)
    gateways = [databases.store(old), databases.store(old)]
    for keys in ((old, new), (new, old)):
        for number in range(2):
            gateways[number] = databases.store(*keys)
            for turn, gateway in enumerate(gateways):
                await gateway.change("a", {"turn": repr((keys, number, turn))})
                await gateway.add_credits({"a": Credits(1, 1)})
                for reader in gateways:
                    assert (await reader.load()).usage["a"]["creditsSince"] > 0
    await gateways[0].seal_anew()

    gateways = [databases.store(new), gateways[1]]
    assert [len((await gateway.load()).accounts) for gateway in gateways] == [1, 1]
    assert (await gateways[0].load()).usage["a"]["creditsSince"] == 8


# --------------------------------------------------------------------------------- what others did


async def test_a_snapshot_hears_of_others_changes_soon(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_POLL_SECONDS", 60.0)
    await migrate(databases.url)
    here, there = databases.store(), databases.store()
    await here.add(ACCOUNT)
    assert there.snapshot().accounts == (ACCOUNT,)
    await listening(databases.url, 1)

    async def heard(store: PostgresStore, expected: object) -> None:
        async with asyncio.timeout(10):  # by a notice, as a look comes later
            while (store.snapshot().accounts, dict(store.snapshot().usage)) != expected:
                await asyncio.sleep(0.01)

    changed = {**ACCOUNT, "label": "work"}
    await here.change("a", {"label": "work"})
    await heard(there, ((changed,), {}))
    await here.remove("a")
    await heard(there, ((), {}))
    await here.add(ACCOUNT)
    await heard(there, ((ACCOUNT,), {}))

    monkeypatch.undo()
    looking = databases.store()
    assert looking.snapshot().usage == {}
    await here.change_usage("a", {"usedCount": 3})
    await heard(looking, ((ACCOUNT,), {"a": {"usedCount": 3}}))


# ------------------------------------------------------------------------- without the database


async def test_the_first_snapshot_is_right_for_all_that_ask_at_once(databases: Databases) -> None:
    await migrate(databases.url)
    await databases.store().add(ACCOUNT)
    for _ in range(5):
        store = databases.store()
        found = await asyncio.gather(*(asyncio.to_thread(store.snapshot) for _ in range(4)))
        assert [snapshot.accounts for snapshot in found] == [(ACCOUNT,)] * 4


def failed(store: PostgresStore) -> bool:
    try:
        store.snapshot()
    except StoreFailed as error:
        return error.failure.code == "KA-DATABASE"
    return False


async def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


@pytest.mark.clients
async def test_a_frozen_database_fails_within_two_seconds_and_a_snapshot_soon(databases: Databases) -> None:
    await migrate(databases.url)
    store = databases.store()
    await store.add(ACCOUNT)
    before = store.snapshot()
    # Each asks by itself: for a moment after a failure the same one would not ask again.
    several = [store, databases.store(), databases.store()]
    with databases.server.frozen():
        waits = []
        for each in several:
            began = time.monotonic()
            with pytest.raises(StoreFailed, match="KA-DATABASE"):
                await each.change("a", {"x": 1})
            waits.append(time.monotonic() - began)
            if sum(waits) < 2:
                assert store.snapshot() is before  # a moment is bridged
        assert_in_time(waits, 2)
        await until(lambda: failed(store))
    await until(lambda: not failed(store))
    assert store.snapshot() == before


async def test_a_database_that_was_started_again_is_used_at_once(databases: Databases) -> None:
    await migrate(databases.url)
    store = databases.store()
    await store.add(ACCOUNT)
    await asyncio.sleep(1.1)  # its connection is looked at by then
    with databases.server.stopped():
        pass

    assert await store.change("a", {"x": 1}) == {**ACCOUNT, "x": 1}


async def test_a_connection_that_breaks_costs_what_was_under_way_alone(databases: Databases) -> None:
    await migrate(databases.url)
    store = databases.store()
    name = databases.url.rpartition("/")[2]
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    for _ in range(3):
        slow = asyncio.create_task(store.database.call(lambda made: made.execute("SELECT pg_sleep(1)")))
        while not databases.server.execute(f"{ended} AND query LIKE '%pg_sleep%'"):
            await asyncio.sleep(0.02)
        with pytest.raises(StoreFailed, match="the connection broke"):
            await slow
        await store.add(dict(ACCOUNT, id=os.urandom(4).hex()))


async def test_a_database_that_takes_no_changes_is_as_one_that_is_away_until_it_takes_them_again(
    databases: Databases,
) -> None:
    """As a standby does, or a server whose disk is nearly full: what can be read there may not be changed."""
    await migrate(databases.url)
    store = databases.store()
    await store.add(ACCOUNT)
    name = databases.url.rpartition("/")[2]
    databases.server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    databases.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    )
    await asyncio.sleep(1.1)  # its connection is looked at by then

    for use in (store.load(), store.change("a", {"x": 1}), databases.store().load()):
        with pytest.raises(StoreFailed, match="it takes no changes"):
            await use
    await until(lambda: failed(store))
    databases.server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await until(lambda: not failed(store))
    assert await store.change("a", {"x": 1}) == {**ACCOUNT, "x": 1}


async def test_what_a_database_refuses_that_can_be_reached_is_named_with_what_helps(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    store = databases.store()
    wanted = {
        "53100": "has no room left",
        "25006": "takes no changes",
        "55P03": "is held up by another program",
        "53200": r"refuses what it was asked for \(SQLSTATE 53200\)",
    }
    for code, words in wanted.items():
        raising = f"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END$$"
        with pytest.raises(StoreFailed, match=words) as caught:
            await store.database.call(lambda made, text=raising: made.execute(text))
        assert "cannot be reached" not in str(caught.value)
        assert ("store migrate" in str(caught.value)) == (code == "53200")


async def test_a_gateway_that_freezes_or_loses_its_power_in_a_change_holds_up_the_others_for_seconds_alone(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word comes from it, and its connection stays: by itself the database would wait for it for hours."""
    monkeypatch.setattr(database_module, "_FROZEN", "1s")
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    await here.add(ACCOUNT)
    await there.load()
    holds, thaws = threading.Event(), threading.Event()

    async def freeze(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM kiro_auth.accounts FOR UPDATE")
            holds.set()
            thaws.wait(20)  # nothing goes on in its thread

    frozen = here.database.submit(here.database.run(freeze))
    try:
        await asyncio.to_thread(holds.wait)
        end = time.monotonic() + 10
        changed = None
        while changed is None:
            assert time.monotonic() < end
            with contextlib.suppress(StoreFailed):
                changed = await there.change("a", {"x": 1})
        await until(lambda: waiting_for_locks(databases) == 0)
    finally:
        thaws.set()
    with pytest.raises(StoreFailed, match="the connection broke"):
        await asyncio.wrap_future(frozen)
    assert await here.change("a", {"y": 2}) == {**ACCOUNT, "x": 1, "y": 2}


async def test_a_connection_that_comes_the_moment_the_store_is_closed_is_closed_too(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(databases.url)
    store = databases.store()
    connect, came = store.database.connect, []
    watching: list[asyncio.Task[None] | None] = []

    async def connect_and_end() -> psycopg.AsyncConnection[tuple[object, ...]]:
        came.append(await connect())
        assert watching[0] is not None
        watching[0].cancel()
        return came[0]

    async def hear() -> None:
        watching.append(asyncio.current_task())
        await store._mirror._hear()

    monkeypatch.setattr(store.database, "connect", connect_and_end)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wrap_future(store.database.submit(hear()))

    assert [connection.closed for connection in came] == [True]


async def test_what_nobody_waits_for_any_more_waits_for_no_lock_in_the_database(databases: Databases) -> None:
    await migrate(databases.url)
    store = databases.store()
    await store.add(ACCOUNT)
    with psycopg.connect(databases.url) as other:
        other.execute("SELECT 1 FROM kiro_auth.accounts FOR UPDATE")
        for _ in range(2):
            with pytest.raises(StoreFailed, match="does not answer"):
                await store.change("a", {"x": 1})
            await asyncio.sleep(0.6)  # it is not asked again at once
        await until(lambda: waiting_for_locks(databases) == 0)


def waiting_for_locks(databases: Databases) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    with psycopg.connect(databases.url) as connection:
        row = connection.execute(query, [databases.url.rpartition("/")[2]]).fetchone()
    assert row is not None
    return int(row[0])


async def test_after_a_backup_is_put_back_no_change_looks_like_one_that_a_gateway_has_seen(
    databases: Databases,
) -> None:
    """A gateway that was cut off meanwhile would go on with tokens that were spent since."""
    await migrate(databases.url)
    store, cut_off = databases.store(), databases.store()
    await store.add(ACCOUNT)
    with psycopg.connect(databases.url, autocommit=True) as connection:
        backup = connection.execute("SELECT revision, record FROM kiro_auth.accounts").fetchone()
        assert backup is not None
        await store.change("a", {"x": 1})
        assert (await cut_off.load()).accounts == ({**ACCOUNT, "x": 1},)
        connection.execute("UPDATE kiro_auth.accounts SET revision = %s, record = %s", backup)
    await databases.store().change("a", {"x": 2})

    assert (await cut_off.load()).accounts == ({**ACCOUNT, "x": 2},)


@pytest.mark.skipif(sys.platform != "linux", reason="the names of these options differ")
async def test_a_connection_is_kept_alive_where_routers_forget_those_that_are_silent(
    databases: Databases,
) -> None:
    for more, idle in (("", 30), ("?keepalives_idle=77", 77)):
        database = Database(databases.url + more)
        connection = await database.connect()
        with socket.fromfd(connection.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as line:
            assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
        await connection.close()
        database.close()


async def test_of_several_servers_of_an_address_one_that_never_answers_hides_no_other(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = databases.url.replace("@127.0.0.1:", f"@127.0.0.1:{port},127.0.0.1:")
        database = Database(url)
        try:
            with pytest.raises(StoreFailed, match="does not answer"):
                await database.call(lambda made: made.execute("SELECT 1"))
            await asyncio.sleep(0.6)  # it is not asked again at once
            await database.call(lambda made: made.execute("SELECT 1"))
        finally:
            database.close()


async def test_who_leaves_before_the_database_fails_leaves_nothing_in_the_log(
    databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    database = databases.store().database  # without tables
    task = asyncio.create_task(database.call(lambda made: made.execute("SELECT 1")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(StoreFailed):
        await database.call(lambda made: made.execute("SELECT 1"))
    del task
    gc.collect()

    assert caplog.records == []


async def test_a_token_that_is_renewed_as_the_database_stops_is_saved_and_no_other_machine_spends_it(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    await here.add(ACCOUNT)
    asked: list[str | None] = []

    async def renew(account: Account) -> TokenGrant:
        asked.append(account.refresh_token)
        databases.server.stop()
        return TokenGrant("access-1", "refresh-1", 3600)

    refresher = Refresher(here, CONFIG, renew)
    try:
        fresh = await refresher.fresh(account_of(ACCOUNT))
    finally:
        databases.server.start()

    assert fresh.access_token == "access-1"
    kept = AheadFiles(databases.folder / "here" / "renewals", here.database.name).look("a")
    assert kept is not None
    assert kept.fields["refreshToken"] == "refresh-1"
    await asyncio.sleep(0.6)
    with pytest.raises(StoreBusy):
        async with there.lease("refresh-a", 60):
            pass
    await refresher.save()
    assert ((await there.load()).record("a") or {})["refreshToken"] == "refresh-1"
    async with there.lease("refresh-a", 60):
        pass
    assert asked == ["refresh-0"]


RENEWING_AND_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.protocol import Renewed
from support.postgres import KEY

async def main():
    store = PostgresStore(sys.argv[1], [KEY], Path(sys.argv[2]))
    async with store.lease("refresh-a", 120):
        await store.ahead.prepare("a")
        if sys.argv[3] == "after":
            store.ahead.keep(Renewed("a", "refresh-0", {"refreshToken": "refresh-1"}))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("when", ["before", "after"])
async def test_of_one_killed_as_it_renewed_the_next_on_its_folder_saves_what_came_and_frees_the_lease(
    databases: Databases, when: str
) -> None:
    """Another machine would spend the old token, so it has to wait."""
    await migrate(databases.url)
    there = databases.store(machine="there")
    await there.add(ACCOUNT)
    locks = databases.folder / "here" / "locks"
    renew_and_be_killed(databases.url, locks, when)
    with pytest.raises(StoreBusy):
        async with there.lease("refresh-a", 60):
            pass

    await Refresher(databases.store(machine="here"), CONFIG, never).recover()

    token = "refresh-1" if when == "after" else "refresh-0"
    assert ((await there.load()).record("a") or {})["refreshToken"] == token
    async with there.lease("refresh-a", 60):
        pass
    assert [path.suffix for path in locks.iterdir()] == [".lock"]


def renew_and_be_killed(url: str, locks: Path, when: str) -> None:
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], *sys.path)))
    command = [sys.executable, "-c", RENEWING_AND_KILLED, url, str(locks), when]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, timeout=240)
    assert done.returncode == -signal.SIGKILL


async def never(_: Account) -> TokenGrant:
    raise AssertionError


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
async def test_who_is_stopped_before_it_has_the_lease_of_one_that_was_killed_leaves_it_to_the_next(
    databases: Databases,
) -> None:
    """It has saved nothing of what the killed one kept, so another machine would spend the old token."""
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    await there.add(ACCOUNT)
    renew_and_be_killed(databases.url, databases.folder / "here" / "locks", "after")

    async def recover() -> None:
        async with here.lease("refresh-a", 60):
            raise AssertionError

    async with await psycopg.AsyncConnection.connect(databases.url) as other:
        await other.execute("SELECT * FROM kiro_auth.leases FOR UPDATE")
        taking = asyncio.create_task(recover())
        await waiting_for_a_row(databases.url)
        taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await here.load()  # behind what was under way
    with pytest.raises(StoreBusy):
        async with there.lease("refresh-a", 60):
            pass

    await Refresher(here, CONFIG, never).recover()
    assert ((await there.load()).record("a") or {})["refreshToken"] == "refresh-1"
    async with there.lease("refresh-a", 60):
        pass


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
async def test_who_is_stopped_the_moment_it_has_the_lease_of_one_that_was_killed_leaves_it_to_the_next(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    await there.add(ACCOUNT)
    renew_and_be_killed(databases.url, databases.folder / "here" / "locks", "after")
    take = here._taken

    async def take_and_be_stopped(lease: Any, seconds: float) -> bool:
        assert await take(lease, seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(here, "_taken", take_and_be_stopped)
    with pytest.raises(asyncio.CancelledError):
        async with here.lease("refresh-a", 60):
            raise AssertionError
    monkeypatch.undo()
    with pytest.raises(StoreBusy):
        async with there.lease("refresh-a", 60):
            pass

    await Refresher(here, CONFIG, never).recover()
    assert ((await there.load()).record("a") or {})["refreshToken"] == "refresh-1"


async def waiting_for_a_row(url: str) -> None:
    """Until a statement waits for a row that another transaction has locked."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as looking, asyncio.timeout(20):
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while await (await looking.execute(query)).fetchone() == (0,):
            await asyncio.sleep(0.01)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what tells machines apart is Linux's")
async def test_a_folder_of_another_machine_gives_no_right_to_a_lease_as_its_locks_may_not_be_seen_here(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    locks = databases.folder / "here" / "locks"
    async with here.lease("refresh-a", 60):
        written = (locks / "refresh-a.holder").read_text()
        other = databases.folder / "there" / "locks"
        other.mkdir(parents=True)
        (other / "refresh-a.holder").write_text(re.sub(" .*", " another-machine", written))
        with pytest.raises(StoreBusy):
            async with there.lease("refresh-a", 60):
                pass


async def test_who_ends_after_its_lease_was_over_frees_not_that_of_the_next_on_its_folder(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    late, next_, there = (databases.store(machine=name) for name in ("here", "here", "there"))
    async with contextlib.AsyncExitStack() as held:
        async with late.lease("refresh-a", 0.2):
            await held.enter_async_context(next_.lease("refresh-a", 60, wait=20))
        with pytest.raises(StoreBusy):
            async with there.lease("refresh-a", 60):
                pass


async def test_without_a_folder_for_locks_a_lease_has_one_holder_and_is_taken_up_again_by_the_same_process(
    databases: Databases,
) -> None:
    await migrate(databases.url)
    here, there = databases.store(machine="here"), databases.store(machine="there")
    (databases.folder / "here").write_text("in the way")
    async with here.lease("refresh-a", 60):
        with pytest.raises(StoreBusy):
            async with here.lease("refresh-a", 60):
                pass
        databases.server.stop()
    databases.server.start()
    await asyncio.sleep(0.6)
    with pytest.raises(StoreBusy):
        async with there.lease("refresh-a", 60):
            pass
    async with here.lease("refresh-a", 60):
        pass
    async with there.lease("refresh-a", 60):
        pass


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile"])
def test_a_relative_path_in_the_address_is_refused_by_name_and_a_whole_one_is_not(name: str) -> None:
    with pytest.raises(ConfigFailed, match=f"{name} in the address of the database is a relative path"):
        Database(f"postgresql://db/kiro?{name}=folder/file")

    for value in ("/folder/file", *(["system"] if name == "sslrootcert" else [])):
        Database(f"postgresql://db/kiro?{name}={value}").close()


@pytest.mark.parametrize("password", ["short", "correct-horse-battery"])
async def test_no_failure_names_the_password(password: str, tmp_path: Path) -> None:
    store = PostgresStore(f"postgresql://kiro:{password}@127.0.0.1:1/kiro", [KEY], tmp_path / "locks")
    with pytest.raises(
        StoreFailed, match=r"kiro at 127\.0\.0\.1:1 cannot be reached: nothing listens"
    ) as raised:
        await store.load()
    store.close()

    assert password not in str(raised.value)
    with pytest.raises(ConfigFailed) as refused:
        PostgresStore(f"postgresql://kiro:{password}@[::1/kiro", [KEY], tmp_path / "locks")
    assert password not in str(refused.value)


# ----------------------------------------------------------------------------------------- copies


async def test_files_are_copied_into_the_database_and_back_with_the_newest_tokens(
    databases: Databases, tmp_path: Path
) -> None:
    files = FileStore(tmp_path / "files", tmp_path / "state" / "locks")
    for name in "ba":
        await files.add({**ACCOUNT, "id": name})
    await files.change_usage("b", {"usedCount": 3})
    await files.note_active("a")
    files.ahead.keep(Renewed("a", "refresh-0", {"accessToken": "access-1", "refreshToken": "refresh-1"}))
    database = databases.store()
    migrated_now = await migrate(databases.url)
    await database.add({**ACCOUNT, "id": "c"})

    done = await copy(files, database)
    again = await copy(files, database)

    assert migrated_now
    assert (done.added, done.there_already) == (("b", "a"), ())
    assert (again.added, again.there_already) == ((), ("b", "a"))
    found = await database.load()
    assert [record["id"] for record in found.accounts] == ["c", "b", "a"]
    assert [record["refreshToken"] for record in found.accounts] == ["refresh-0", "refresh-0", "refresh-1"]
    assert (dict(found.usage), found.active) == ({"b": {"usedCount": 3}}, "a")
    back = FileStore(tmp_path / "back", tmp_path / "back-state" / "locks")
    await copy(database, back)
    assert (await back.load()).accounts == found.accounts
