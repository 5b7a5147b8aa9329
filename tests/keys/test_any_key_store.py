"""What holds for client keys wherever they are kept: in files, and in a database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kiro_auth.events import Caller
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.copying import Copied, copy
from kiro_auth.keys.files import FileKeys
from kiro_auth.keys.key import Budget, hashed
from kiro_auth.keys.postgres import DatabaseKeys
from kiro_auth.keys.protocol import KeyStore
from kiro_auth.keys.sqlite import SqliteKeys
from kiro_auth.store.postgres import PostgresStore
from kiro_auth.store.schema import Connection
from kiro_auth.store.sqlite_file import SqliteFile
from support.postgres import KEY, Cluster, migrated

NOW = 1_800_000_000.0
Another = Callable[[], KeyStore]
"""The store of one program more, on this machine or another."""


@pytest.fixture
def in_files(tmp_path: Path) -> Another:
    return lambda: FileKeys(tmp_path / "config", tmp_path / "state")


@pytest.fixture
def in_database(tmp_path: Path, postgres: Cluster) -> Iterator[Another]:
    url = migrated(postgres.new_database(f"d{os.urandom(6).hex()}"))
    stores: list[PostgresStore] = []

    def another() -> KeyStore:
        stores.append(PostgresStore(url, [KEY], tmp_path / "locks"))
        return DatabaseKeys(stores[-1])

    yield another
    for store in stores:
        store.close()


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Iterator[Another]:
    opened: list[SqliteFile] = []

    def another() -> KeyStore:
        opened.append(SqliteFile(tmp_path / "accounts.sqlite3"))
        return SqliteKeys(opened[-1])

    yield another
    for file in opened:
        file.close()


@pytest.fixture(params=["in_files", "in_sqlite", "in_database"])
def another(request: pytest.FixtureRequest) -> Another:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def changes(store: KeyStore, now: float = NOW, **more: bool) -> Changes:
    return Changes(store, "ada", now, **more)


def names(store: KeyStore) -> set[str]:
    return {key.name for key in store.keys()}  # noqa: SIM118 (no mapping)


def until(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_key_is_read_as_it_was_made_and_a_store_without_keys_has_none(another: Another) -> None:
    assert tuple(another().keys()) == ()
    limits = Limits(
        models=("a-*",), accounts=("1", "2"), budget=Budget(5, "day"), concurrency=2, expires=NOW + 9.5
    )
    made = changes(another()).create("ann", limits)
    store = another()

    assert list(store.keys()) == [made.key]
    assert store.keys() is store.keys()
    assert [(row.what, row.who, row.when, row.id, row.name) for row in store.audit()] == [
        ("create", "ada", NOW, made.key.id, "ann")
    ]
    assert store.audit()[0].limits["budget"] == {"credits": 5, "period": "day"}
    assert made.key.hash == hashed(made.secret)


def test_a_name_is_free_again_once_its_key_was_revoked_and_ids_differ(another: Another) -> None:
    store = another()
    first = changes(store).create("ann", Limits())
    with pytest.raises(ConfigFailed, match="already"):
        changes(store).create("ann", Limits())
    changes(store).revoke("ann")
    with pytest.raises(ConfigFailed, match="revoked already"):
        changes(store).revoke("ann")
    second = changes(store).create("ann", Limits())

    assert first.key.id != second.key.id
    assert [(row.what, row.who, row.when) for row in another().audit()] == [
        (what, "ada", NOW) for what in ("create", "revoke", "create")
    ]


def test_a_key_that_has_expired_gets_no_secret_that_lets_nobody_in(another: Another) -> None:
    store = another()
    changes(store).create("ci", Limits(expires=NOW + 1))
    for use in (changes(store, NOW + 2).rotate, lambda name: changes(store, NOW + 2).create(name, Limits())):
        with pytest.raises(ConfigFailed, match=r"has expired.* kiro-auth keys revoke ci"):
            use("ci")
    changes(store, NOW + 3).revoke("ci")
    changes(store, NOW + 3).create("ci", Limits())

    assert [row.what for row in store.audit()] == ["create", "revoke", "create"]


def test_a_name_that_is_another_key_s_id_means_the_key_of_that_name(another: Another) -> None:
    store = another()
    ann = changes(store).create("ann", Limits())
    bob = changes(store).create(ann.key.id, Limits())
    assert changes(store).rotate(ann.key.id).key.id == bob.key.id
    assert changes(store).revoke(ann.key.id).id == bob.key.id
    assert changes(store).revoke(ann.key.id).id == ann.key.id


def test_an_account_of_a_key_that_has_ended_is_free(another: Another) -> None:
    store = another()
    changes(store).create("ann", Limits(accounts=("a", "b")))
    with pytest.raises(ConfigFailed, match="ann is for one of these"):
        changes(store).create("bob", Limits(accounts=("b", "c")))
    changes(store, share_accounts=True).create("eve", Limits(accounts=("c",), expires=NOW + 1))
    changes(store, NOW + 2).create("dan", Limits(accounts=("c",)))
    changes(store).revoke("ann")
    changes(store).create("bob", Limits(accounts=("b",)))


def test_where_accounts_have_several_owners_a_key_has_to_name_its_own(another: Another) -> None:
    store = another()
    with pytest.raises(ConfigFailed) as refused:
        changes(store, several_owners=True).create("ann", Limits())
    assert "--accounts NAME" in str(refused.value.failure.next_step)
    assert "share_accounts" in str(refused.value.failure.next_step)
    assert (names(store), store.audit()) == (set(), [])
    changes(store, several_owners=True).create("ann", Limits(accounts=("a",)))
    changes(store, several_owners=True, share_accounts=True).create("all", Limits())


def test_of_programs_that_make_the_same_name_at_once_one_wins_and_no_other_key_is_lost(
    another: Another,
) -> None:
    programs = [another() for _ in range(4)]

    def make(program: int, name: str) -> bool:
        try:
            changes(programs[program]).create(name, Limits())
        except ConfigFailed:
            return False
        return True

    wanted = [(program, f"k{number}") for number in range(6) for program in range(4)]
    wanted += [(program, f"own{program}-{number}") for program in range(4) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda each: make(*each), wanted))

    assert (sum(won[:24]), won[24:]) == (6, [True] * 12)
    expected = {name for _, name in wanted}
    assert names(another()) == expected
    assert sorted(row.name for row in another().audit()) == sorted(expected)


def test_other_programs_see_a_new_key_at_once_and_a_revoked_or_rotated_one_within_a_second(
    another: Another,
) -> None:
    gateway = ClientKeys(another(), clock=lambda: NOW)
    assert gateway.admit("kak_wrong") is None
    office = another()
    made = changes(office).create("ann", Limits())
    until(lambda: gateway.admit(made.secret) == Caller(made.key.id, "ann", hashed(made.secret)), 0.5)
    rotated = changes(office).rotate("ann")
    until(lambda: gateway.admit(rotated.secret) == Caller(made.key.id, "ann", hashed(rotated.secret)), 0.5)
    until(lambda: gateway.admit(made.secret) is None, 1.1)
    changes(office).revoke("ann")
    until(lambda: isinstance(gateway.admit(rotated.secret), Failure), 1.1)


def test_a_program_s_own_change_is_there_when_it_returns(another: Another) -> None:
    store = another()
    assert names(store) == set()
    changes(store).create("ann", Limits())
    assert names(store) == {"ann"}
    changes(store).revoke("ann")
    assert [key.revoked for key in store.keys()] == [NOW]  # noqa: SIM118 (no mapping)
    changes(store).create("ann", Limits())
    with pytest.raises(ConfigFailed, match="already"):
        changes(store).create("ann", Limits())


def test_no_store_keeps_a_secret(another: Another, tmp_path: Path) -> None:
    store = another()
    made = changes(store).create("ann", Limits())
    changes(store).rotate("ann")
    assert made.secret not in repr((list(store.keys()), store.audit()))
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(made.secret.encode() in text for text in kept)


def test_keys_and_audit_are_copied_both_ways_and_once(in_files: Another, in_database: Another) -> None:
    files, database = in_files(), in_database()
    changes(files).create("ann", Limits(accounts=("1",), budget=Budget(2, "month")))
    changes(files).create("all", Limits())
    changes(files, NOW + 1).revoke("ann")
    changes(files, NOW + 2).create("ann", Limits())
    changes(database).create("bob", Limits(accounts=("9",)))

    assert copy(files, database, accounts=("1", "2")).added == 3
    assert copy(files, in_database(), accounts=("1", "2")) == Copied(0, ())
    found = {(key.name, key.accounts, key.revoked) for key in in_database().keys()}  # noqa: SIM118 (no mapping)
    owned = ("1", "2")
    assert found == {
        ("bob", ("9",), None), ("ann", ("1",), NOW + 1), ("all", owned, None), ("ann", owned, None)
    }  # fmt: skip
    assert [(row.what, row.name) for row in database.audit()].count(("create", "ann")) == 2
    assert len(database.audit()) == 5
    assert copy(database, files) == Copied(1, ())
    assert copy(database, files) == Copied(0, ())
    assert len(files.audit()) == 5
    assert names(files) == {"ann", "all", "bob"}


def test_a_name_that_is_taken_stays_and_keys_without_any_account_are_not_copied_and_named(
    in_files: Another, in_database: Another
) -> None:
    files, database = in_files(), in_database()
    changes(files).create("ann", Limits(accounts=("1",)))
    changes(files).create("all", Limits())
    changes(files).create("gone", Limits())
    changes(files).revoke("gone")
    kept = changes(database).create("ann", Limits(accounts=("9",)))

    assert copy(files, database, accounts=()) == Copied(0, ("ann", "all"))
    assert list(in_database().keys()) == [kept.key]
    assert [row.id for row in database.audit()] == [kept.key.id]


def test_while_the_database_is_away_nobody_comes_in_and_afterwards_all_do(
    in_database: Another, postgres: Cluster
) -> None:
    made = changes(in_database()).create("ann", Limits())
    gateway = ClientKeys(in_database())
    assert isinstance(gateway.admit(made.secret), Caller)
    with postgres.stopped():
        until(lambda: isinstance(gateway.admit(made.secret), Failure), 4)
        with pytest.raises(StoreFailed):
            changes(in_database()).create("bob", Limits())
    until(lambda: isinstance(gateway.admit(made.secret), Caller), 5)


def test_after_a_backup_is_put_back_no_change_of_keys_looks_like_one_that_gateways_have_seen(
    in_database: Another,
) -> None:
    store = in_database()
    assert isinstance(store, DatabaseKeys)
    seen = []
    for number in range(2):
        changes(store).create(f"k{number}", Limits())
        seen.append(note_of(store))
    note_of(store, put_back=seen[0])
    changes(store).create("other", Limits())

    assert note_of(store) not in seen
    assert int(note_of(store)) < 2**63  # the release before counts on from it


def note_of(store: DatabaseKeys, put_back: str | None = None) -> str:
    async def read(connection: Connection) -> str:
        if put_back is not None:
            await connection.execute("UPDATE kiro_auth.notes SET value = %s WHERE name = 'keys'", [put_back])
        found = await connection.execute("SELECT value FROM kiro_auth.notes WHERE name = 'keys'")
        return str((await found.fetchall())[0][0])

    database = store._database
    return database.submit(database.run(read)).result()
