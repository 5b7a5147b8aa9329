"""A row that does not open costs its own account alone, in every store that seals."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.refresh import Refresher
from kiro_auth.accounts.registry import SignedIn, admit
from kiro_auth.accounts.roster import read_all
from kiro_auth.failures import StoreFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store.copying import copy
from kiro_auth.store.files import FileStore
from kiro_auth.store.postgres import migrate
from kiro_auth.store.protocol import Credits, Renewed, Snapshot
from kiro_auth.store.sealed import Sealer
from kiro_auth.store.sqlite import SqliteStore
from support.postgres import KEY, Cluster
from support.rows import InPostgres, InSqlite, Place

CONFIG = config.load(environment={}, folder=Path("/nowhere"))
LOST_KEY, NEW_KEY = bytes(32), bytes(range(1, 33))
RECORDS = {name: {"id": name, "accessToken": f"token-of-{name}"} for name in ("a", "b", "c")}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.outside)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        made: InSqlite | InPostgres = InSqlite(tmp_path)
    else:
        server: Cluster = request.getfixturevalue("postgres")
        made = InPostgres(server.new_database(f"u{os.urandom(6).hex()}"), tmp_path)
        await migrate(made.url)
    store = made.opened(KEY)
    for record in RECORDS.values():
        await store.add(record)
        await store.add_credits({record["id"]: Credits(1, 1)})
    yield made
    made.close()


def changed_by_hand(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


DAMAGES: Sequence[tuple[str, Callable[[bytes], bytes], str]] = [
    ("changed", changed_by_hand, "was changed by another hand"),
    ("cut short", lambda sealed: sealed[:9], "was changed by another hand"),
    ("empty", lambda _: b"", "was changed by another hand"),
    ("of another key", lambda _: Sealer([LOST_KEY]).seal(RECORDS["b"], "b"), "was sealed with another key"),
    ("of another account", lambda _: Sealer([KEY]).seal(RECORDS["b"], "a"), "was changed by another hand"),
    ("no object", lambda _: b"\x00garbage", "was changed by another hand"),
]


def ids(snapshot: Snapshot) -> list[object]:
    return [record["id"] for record in snapshot.accounts]


@pytest.mark.parametrize(("make", "why"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
async def test_the_others_are_there_in_their_order_and_it_is_named_with_cause_and_remedy(
    place: Place, make: Callable[[bytes], bytes], why: str
) -> None:
    running = place.opened(KEY)
    assert ids(await running.load()) == ["a", "b", "c"]
    sealed, _ = place.row("b")
    place.damage("b", make(sealed))

    for store in (running, place.opened(KEY)):
        for found in (await store.load(), store.snapshot()):
            assert (ids(found), sorted(found.usage)) == (["a", "c"], ["a", "c"])
            assert found.by_id == {name: RECORDS[name] for name in "ac"}
            [told] = read_all(found)[1]
            assert (told.id, told.failure.code) == ("b", "KA-STORE")
            assert re.match(f"The account b cannot be read: (it|its row) {why}", told.failure.message)
            assert "kiro-auth accounts remove b" in str(told.failure.next_step)
            assert "token-of" not in told.failure.sentence()

    place.damage("b", sealed)
    for store in (running, place.opened(KEY)):
        found = await store.load()
        assert (list(found.accounts), read_all(found)[1]) == (list(RECORDS.values()), [])


async def test_no_change_overwrites_it_and_no_other_waits_for_it(place: Place) -> None:
    place.damage("b", changed_by_hand(place.row("b")[0]))
    before, store = place.row("b"), place.opened(KEY)

    await store.change("a", {"x": 1})
    await store.add_credits({name: Credits(2, 2) for name in "abc"})
    await store.add_credits({"b": Credits(2, 2)})
    await store.note_active("b")
    with pytest.raises(StoreFailed, match="The account b cannot be read"):
        await store.change("b", {"x": 1})
    with pytest.raises(StoreFailed, match="The account b cannot be read"):
        await store.change_usage("b", {"x": 1})
    with pytest.raises(ValueError, match="is there already"):
        await store.add(RECORDS["b"])
    await store.clear_leftovers()

    found = await store.load()
    assert place.row("b") == before
    assert found.record("a") == {**RECORDS["a"], "x": 1}
    assert {name: row["creditsSince"] for name, row in found.usage.items()} == {"a": 3, "c": 3}


async def test_a_new_key_seals_the_others_anew_and_leaves_it_as_it_is_for_the_key_that_fits(
    place: Place,
) -> None:
    place.damage("b", Sealer([LOST_KEY]).seal(RECORDS["b"], "b"))
    before = place.row("b")[0]
    both = place.opened(NEW_KEY, KEY)

    sealed = await (both.write_anew() if isinstance(both, SqliteStore) else both.seal_anew())

    assert sealed == 2
    assert place.row("b")[0] == before
    counted = both.count_old() if isinstance(both, SqliteStore) else await both.count_old()
    assert counted == 0
    assert ids(await place.opened(NEW_KEY).load()) == ["a", "c"]
    assert ids(await place.opened(LOST_KEY, NEW_KEY, KEY).load()) == ["a", "b", "c"]


async def test_it_is_removed_by_who_asks_for_it_and_the_others_stay(place: Place) -> None:
    place.damage("b", b"")
    store = place.opened(KEY)
    assert read_all(await store.load())[1] != []

    assert await store.remove("b")

    found = await store.load()
    assert (ids(found), read_all(found)[1]) == (["a", "c"], [])
    assert await store.remove("b") is False


async def test_if_no_key_fits_any_row_that_is_said_of_all_and_nothing_can_be_added_to_them(
    place: Place,
) -> None:
    for _ in range(2):
        with pytest.raises(StoreFailed, match="holds an account that was sealed with another key"):
            await place.opened(LOST_KEY).load()
    for name in "abc":
        place.damage(name, changed_by_hand(place.row(name)[0]))
    found = await place.opened(KEY).load()
    assert (ids(found), [told.id for told in read_all(found)[1]]) == ([], ["a", "b", "c"])


async def test_a_copy_leaves_it_out_and_names_it_and_takes_its_place_in_no_target(
    place: Place, tmp_path: Path
) -> None:
    place.damage("b", b"")
    store = place.opened(KEY)
    files = FileStore(tmp_path / "files", tmp_path / "files" / "locks")

    out = await copy(store, files)
    assert (out.added, list(out.unreadable)) == (("a", "c"), ["b"])
    await files.add(RECORDS["b"])
    back = await copy(files, store)

    assert (back.added, sorted(back.there_already), back.unreadable) == ((), ["a", "b", "c"], {})
    assert place.row("b")[0] == b""


async def test_of_many_reads_the_row_is_fetched_and_opened_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.damage("b", changed_by_hand(place.row("b")[0]))
    store, tried = place.opened(KEY), []
    first = await store.load()
    real = Sealer.open
    monkeypatch.setattr(Sealer, "open", lambda self, *given: tried.append(given[1]) or real(self, *given))

    for _ in range(5):
        again = await store.load()

    assert (again.unreadable, tried) == (first.unreadable, [])


async def test_a_sign_in_takes_not_its_id_and_a_token_kept_ahead_of_it_waits_for_the_key(
    place: Place, tmp_path: Path
) -> None:
    sealed, _ = place.row("b")
    place.damage("b", Sealer([LOST_KEY]).seal(RECORDS["b"], "b"))
    store = place.opened(KEY)
    store.ahead.keep(Renewed("b", "spent", {"accessToken": "newer"}))
    for path in tmp_path.rglob("renewals/*"):
        os.utime(path, (0, 0))  # long ago, as if its account was in no store

    signed_in = SignedIn(kind="builder-id", region="us-east-1", access_token="t", refresh_token="r", id="b")
    admitted = await admit(store, signed_in, 1_000.0)
    await Refresher(store, CONFIG, refresh=never).recover()

    assert admitted.change == "added"
    assert admitted.account.id != "b"
    assert await store.ahead.kept("b") == Renewed("b", "spent", {"accessToken": "newer"})
    place.damage("b", sealed)
    assert ids(await store.load()) == ["a", "b", "c", admitted.account.id]


async def never(_: Account) -> TokenGrant:
    raise AssertionError("nothing is to be renewed")


@pytest.mark.parametrize("column", ["record", "usage"])
@pytest.mark.parametrize("text", [b"null", b"[1]", b"1", b'"x"', b"{", b"\xff"])
async def test_in_clear_what_is_no_object_costs_its_own_account_alone(
    tmp_path: Path, text: bytes, column: str
) -> None:
    place = InSqlite(tmp_path)
    store = place.opened()
    for record in RECORDS.values():
        await store.add(record)
    place.damage("b", text, column)

    for each in (store, place.opened()):
        found = await each.load()
        assert ids(found) == ["a", "c"]
        [told] = read_all(found)[1]
        assert re.match("The account b cannot be read: its row is not", told.failure.message)
    assert await store.remove("b")
    assert read_all(await store.load())[1] == []
    place.close()


@pytest.mark.parametrize("record", [{}, {"id": "a"}, {"id": 1}, {"id": "d"}], ids=str)
async def test_in_clear_a_record_with_another_id_is_named_by_that_of_its_row_and_can_be_removed(
    tmp_path: Path, record: dict[str, object]
) -> None:
    place = InSqlite(tmp_path)
    store = place.opened()
    for each in RECORDS.values():
        await store.add(each)
    place.damage("b", json.dumps(record).encode())

    found = await store.load()
    assert ids(found) == ["a", "c"]
    assert found.record("a") == RECORDS["a"]
    assert [told.failure.message for told in read_all(found)[1]] == [
        "The account b cannot be read: its row holds another id."
    ]
    with pytest.raises(StoreFailed, match="holds another id"):
        await store.change("b", {"x": 1})
    assert await store.remove("b")
    assert ids(await store.load()) == ["a", "c"]
    place.close()
