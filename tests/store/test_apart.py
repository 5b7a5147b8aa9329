"""Secrets in the system's keyring: none stands in a file, none is lost, and the keyring is seldom asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.gateway.own_store import file_store
from kiro_auth.store import system_keyring
from kiro_auth.store.apart import MARK, Apart
from kiro_auth.store.files import ACCOUNTS, FileStore
from kiro_auth.store.protocol import Renewed
from kiro_auth.store.system_keyring import SystemKeyring
from support.keyrings import MemoryKeyring

ACCOUNT = {
    "id": "a" * 32,
    "authMethod": "idc",
    "clientId": "client",
    "clientSecret": "client-secret",
    "refreshToken": "refresh-0",
    "accessToken": "access-0",
    "odd": [1],
}
ID = ACCOUNT["id"]
ORIGINAL = {"version": 1, "accounts": [ACCOUNT], "activeIndex": 0, "fromTheFuture": True}


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "opencode"


class Here:
    """A user's files and keyring, opened as often as programs do."""

    def __init__(self, folder: Path, keyring: MemoryKeyring) -> None:
        self.folder, self.keyring = folder, keyring

    def store(self, *, keeps_new: bool = True, longest: int | None = None) -> FileStore:
        keyring = SystemKeyring(lambda: self.keyring, longest)
        return FileStore(
            self.folder, self.folder.parent / "locks", Apart(keyring, keeps_new=lambda: keeps_new)
        )

    def written(self, document: Any = ORIGINAL) -> bytes:
        self.folder.mkdir(exist_ok=True)
        text = json.dumps(document, indent=2).encode()
        (self.folder / ACCOUNTS).write_bytes(text)
        return text

    def record(self) -> dict[str, Any]:
        return json.loads((self.folder / ACCOUNTS).read_bytes())["accounts"][0]  # type: ignore[no-any-return]

    def texts(self) -> str:
        """Every file of the user."""
        paths = [path for path in self.folder.parent.rglob("*") if path.is_file()]
        return "\n".join(path.read_text() for path in paths)


@pytest.fixture
def here(folder: Path, keyring: MemoryKeyring) -> Here:
    return Here(folder, keyring)


def secrets_in(text: str) -> list[str]:
    return [word for word in ("refresh-", "access-", "client-secret") if word in text]


def renewed(number: int) -> dict[str, str]:
    return {"refreshToken": f"refresh-{number}", "accessToken": f"access-{number}"}


# ----------------------------------------------------------------------------- where secrets stand


async def test_no_secret_of_a_new_account_stands_in_a_file_and_each_renewal_leaves_one_entry(
    here: Here, keyring: MemoryKeyring
) -> None:
    store = here.store()
    await store.add(ACCOUNT)

    for number in range(1, 5):
        after = await store.change(
            ID, renewed(number), if_unchanged={"refreshToken": f"refresh-{number - 1}"}
        )
        assert after == {**ACCOUNT, **renewed(number)} == (await here.store().load()).record(ID)
        assert secrets_in(here.texts()) == []
        assert len(keyring.entries) == 1

    assert await store.remove(ID)
    assert keyring.entries == {}


async def test_other_programs_find_every_field_of_the_type_that_they_expect(here: Here) -> None:
    await here.store().add(ACCOUNT)

    assert list(here.record()) == [*ACCOUNT, MARK]
    assert {name: type(value) for name, value in here.record().items() if name != MARK} == {
        name: type(value) for name, value in ACCOUNT.items()
    }


async def test_there_and_back_the_accounts_are_as_before(here: Here, keyring: MemoryKeyring) -> None:
    here.written()

    moved = await here.store().move_secrets()
    assert moved.moved == (ID,)
    assert secrets_in(here.texts()) == []  # nor in the copy that is kept of a file of the original
    assert len(list(here.folder.glob(f"{ACCOUNTS}.backup-*"))) == 1
    assert (await here.store().load()).record(ID) == ACCOUNT
    assert await here.store().move_secrets() == type(moved)(())

    back = await here.store(keeps_new=False).move_secrets()
    assert back.moved == (ID,)
    document = json.loads((here.folder / ACCOUNTS).read_bytes())
    del document["kiroAuth"]
    assert json.dumps(document) == json.dumps(ORIGINAL)
    assert keyring.entries == {}


async def test_a_token_of_another_program_in_the_file_counts_and_goes_to_the_keyring_with_the_next_change(
    here: Here,
) -> None:
    """The original, or a release before this one, signs in again."""
    store = here.store(keeps_new=False)
    await here.store().add(ACCOUNT)
    document = json.loads((here.folder / ACCOUNTS).read_bytes())
    document["accounts"][0] |= renewed(7)
    here.written(document)

    assert (await store.load()).record(ID) == {**ACCOUNT, **renewed(7)}
    await store.change(ID, renewed(8), if_unchanged={"refreshToken": "refresh-7"})

    assert secrets_in(here.texts()) == []
    assert (await here.store().load()).record(ID) == {**ACCOUNT, **renewed(8)}


async def test_the_copy_of_a_file_that_another_program_wrote_holds_no_tokens(here: Here) -> None:
    """As when the original wrote it anew: the first change of ours keeps a copy of that."""
    text = here.written()
    other = here.store(keeps_new=False)
    await other.change(ID, {"state": "cooling"})
    (copy,) = here.folder.glob(f"{ACCOUNTS}.backup-*")
    assert copy.read_bytes() == text
    copy.unlink()

    here.written()
    await here.store().change(ID, renewed(1))
    assert secrets_in(here.texts()) == []


async def test_where_the_option_is_files_nothing_asks_a_keyring_and_what_is_in_one_stays_there(
    here: Here, keyring: MemoryKeyring
) -> None:
    store = here.store(keeps_new=False)
    await store.add(ACCOUNT)
    await store.change(ID, renewed(1))
    assert keyring.asked == []
    assert here.record() == {**ACCOUNT, **renewed(1)}

    await here.store().move_secrets()
    await store.change(ID, renewed(2))

    assert secrets_in(here.texts()) == []
    assert (await here.store().load()).record(ID) == {**ACCOUNT, **renewed(2)}


@pytest.mark.parametrize("length", [0, 1, 11, 12, 13, 24, 700])
def test_a_text_that_one_entry_does_not_hold_has_several(length: int) -> None:
    backend = MemoryKeyring(longest=12)
    keyring = SystemKeyring(lambda: backend, longest=12)
    keyring.write("name", "z" * 100)

    keyring.write("name", "x" * length)

    assert keyring.read("name") == "x" * length
    assert len(backend.entries) == max(1, -(-length // 12))
    keyring.delete("name")
    assert backend.entries == {}


async def test_a_program_that_runs_goes_by_the_option_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a gateway would put the tokens back that were moved away from the keyring while it ran."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.delenv("KIRO_SECRETS", raising=False)
    options, accounts = tmp_path / "opencode" / "kiro.json", tmp_path / "opencode" / ACCOUNTS
    options.parent.mkdir()
    options.write_text('{"secrets": "keyring"}')
    gateway = file_store()
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await gateway.add(ACCOUNT)

    options.write_text('{"secrets": "files"}')
    await gateway.add(ACCOUNT)
    assert "refresh-0" in accounts.read_text()

    options.write_text('{"secrets": "safe"}')
    with pytest.raises(StoreFailed, match="KA-CONFIG"):
        await gateway.change(ID, renewed(1))


# ------------------------------------------------------------------------- how often it is asked


async def test_a_keyring_is_asked_once_for_each_change_and_never_for_a_reading(
    here: Here, keyring: MemoryKeyring
) -> None:
    await here.store().add(ACCOUNT)
    gateway, other = here.store(), here.store()
    keyring.asked.clear()

    for _ in range(100):
        assert gateway.snapshot().record(ID) == ACCOUNT
    assert gateway.snapshot().accounts is gateway.snapshot().accounts
    assert keyring.asked == [f"get {ID}/a"]

    await other.load()
    keyring.asked.clear()
    await other.change(ID, {"state": "cooling"})
    await other.change_usage(ID, {"usedCount": 1})
    for _ in range(100):
        assert (gateway.snapshot().record(ID) or {})["state"] == "cooling"
    assert keyring.asked == []

    await other.change(ID, renewed(1))
    keyring.asked.clear()
    end = time.monotonic() + 10
    while (gateway.snapshot().record(ID) or {})["accessToken"] != "access-1":
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert keyring.asked == [f"get {ID}/b"]


async def test_while_the_keyring_is_asked_for_what_another_changed_readers_do_not_wait(
    here: Here, keyring: MemoryKeyring
) -> None:
    await here.store().add(ACCOUNT)
    gateway = here.store()
    gateway.snapshot()
    await here.store().change(ID, {**renewed(1), "state": "cooling"})
    keyring.hangs = threading.Event()

    began = time.monotonic()
    found = [gateway.snapshot().record(ID) for _ in range(50)]
    assert time.monotonic() - began < 5  # it hangs until it is let go
    assert all(record == ACCOUNT for record in found)

    keyring.hangs.set()
    assert (await gateway.load()).record(ID) == {**ACCOUNT, **renewed(1), "state": "cooling"}


# ------------------------------------------------------------------- a keyring that does not open


@pytest.mark.slow
async def test_a_locked_keyring_is_told_and_once_it_opens_all_goes_on(
    here: Here, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_keyring, "_AGAIN_SECONDS", 0)
    await here.store().add(ACCOUNT)
    keyring.locked = True
    gateway = here.store()

    for read in (gateway.snapshot, gateway.snapshot):
        with pytest.raises(StoreFailed, match=r"is locked \(KA-KEYRING\).*Unlock it"):
            read()
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await gateway.load()
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await gateway.change(ID, renewed(1))
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await gateway.remove(ID)
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await here.store(keeps_new=False).move_secrets()

    keyring.locked = False
    end = time.monotonic() + 10
    while True:
        try:
            assert gateway.snapshot().record(ID) == ACCOUNT
            break
        except StoreFailed:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_what_is_in_memory_goes_on_while_it_is_locked_and_no_new_token_goes_elsewhere(
    here: Here, keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_keyring, "_AGAIN_SECONDS", 0)
    gateway = here.store()
    await gateway.add(ACCOUNT)
    keyring.locked = True

    assert gateway.snapshot().record(ID) == ACCOUNT
    assert await gateway.change(ID, {"state": "cooling"}) == {**ACCOUNT, "state": "cooling"}
    await gateway.ahead.prepare(str(ID))
    gateway.ahead.keep(Renewed(str(ID), "refresh-0", renewed(1)))
    with pytest.raises(StoreFailed, match="KA-KEYRING"):
        await gateway.change(ID, renewed(1), if_unchanged={"refreshToken": "refresh-0"})
    assert secrets_in((here.folder / ACCOUNTS).read_text()) == []
    assert (gateway.snapshot().record(ID) or {})["refreshToken"] == "refresh-0"
    assert gateway.count_waiting() == 1

    keyring.locked = False
    await gateway.change(ID, renewed(1), if_unchanged={"refreshToken": "refresh-0"})
    assert (await here.store().load()).record(ID) == {**ACCOUNT, **renewed(1), "state": "cooling"}


def test_one_that_said_no_is_not_made_to_ask_people_again_and_again(keyring: MemoryKeyring) -> None:
    keyring.locked = True
    system = SystemKeyring(lambda: keyring)
    for _ in range(20):
        with pytest.raises(StoreFailed, match="is locked"):
            system.read("a")
    assert len(keyring.asked) == 1


def test_one_that_does_not_answer_is_waited_for_only_so_long(
    keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_keyring, "_LIMIT_SECONDS", 0.1)
    keyring.hangs = threading.Event()
    with pytest.raises(StoreFailed, match=r"did not answer within 0 seconds.*unlock it"):
        SystemKeyring(lambda: keyring).read("a")
    keyring.hangs.set()


def test_what_was_given_up_behind_one_that_hung_is_not_done_later(
    keyring: MemoryKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then another program may have put new secrets there."""
    monkeypatch.setattr(system_keyring, "_LIMIT_SECONDS", 0.1)
    hung = keyring.hangs = threading.Event()
    system = SystemKeyring(lambda: keyring)
    with pytest.raises(StoreFailed, match="did not answer"):
        system.read("another")
    for change in (lambda: system.delete("name"), lambda: system.write("name", "old")):
        with pytest.raises(StoreFailed, match="did not answer"):
            change()

    monkeypatch.setattr(system_keyring, "_LIMIT_SECONDS", 60)
    keyring.hangs = None
    SystemKeyring(lambda: keyring).write("name", "new")
    hung.set()

    assert system.read("name") == "new"


async def test_secrets_that_a_keyring_lost_are_a_sign_in_that_ended_and_a_new_one_mends_it(
    here: Here, keyring: MemoryKeyring
) -> None:
    await here.store().add(ACCOUNT)
    await here.store().add({"id": "b" * 32, "accessToken": "other"})
    del keyring.entries[f"{ID}/a"]
    store = here.store()

    record = store.snapshot().record(ID) or {}
    assert (record["state"], record["accessToken"]) == ("sign-in", "")
    assert "keyring" in record["stateReason"]
    assert (store.snapshot().record("b" * 32) or {})["accessToken"] == "other"

    await store.change(ID, {**renewed(3), "state": "ready", "stateReason": None, "stateCode": None})
    assert ((await here.store().load()).record(ID) or {})["accessToken"] == "access-3"


async def test_an_entry_of_other_secrets_than_the_file_names_is_not_taken(
    here: Here, keyring: MemoryKeyring
) -> None:
    """As when an older copy of the file is put back."""
    await here.store().add(ACCOUNT)
    before = (here.folder / ACCOUNTS).read_bytes()
    for number in (1, 2):
        await here.store().change(ID, renewed(number))
    (here.folder / ACCOUNTS).write_bytes(before)

    assert ((await here.store().load()).record(ID) or {})["state"] == "sign-in"


async def test_a_keyring_that_keeps_nothing_changes_nothing(here: Here, keyring: MemoryKeyring) -> None:
    text = here.written()
    keyring.loses = True

    with pytest.raises(StoreFailed, match=r"does not give back.*Nothing was changed"):
        await here.store().move_secrets()

    assert (here.folder / ACCOUNTS).read_bytes() == text


async def test_what_a_keyring_that_is_gone_held_can_be_given_up(here: Here, keyring: MemoryKeyring) -> None:
    await here.store().add(ACCOUNT)
    keyring.locked = True

    done = await here.store(keeps_new=False).move_secrets(give_up=True)

    assert (done.moved, done.given_up) == ((), (ID,))
    assert (here.record()["state"], MARK in here.record()) == ("sign-in", False)


async def test_giving_up_keeps_what_another_program_has_signed_in_since(
    here: Here, keyring: MemoryKeyring
) -> None:
    await here.store().add(ACCOUNT)
    await here.store().add({"id": "b" * 32, "accessToken": "other"})
    document = json.loads((here.folder / ACCOUNTS).read_bytes())
    document["accounts"][0] |= {**renewed(7), "clientSecret": "client-secret"}
    here.written(document)
    keyring.locked = True

    done = await here.store(keeps_new=False).move_secrets(give_up=True)

    assert (done.moved, done.given_up) == ((ID,), ("b" * 32,))
    assert here.record() == {**ACCOUNT, **renewed(7)}
    assert here.store().snapshot().record(ID) == {**ACCOUNT, **renewed(7)}


@pytest.mark.parametrize("place", ["before the file", "after the file"])
async def test_a_kill_on_either_side_of_the_file_leaves_what_the_file_names(
    here: Here, keyring: MemoryKeyring, place: str
) -> None:
    """The new secrets are in the keyring already, or the old ones still, as a kill would leave them."""
    await here.store().add(ACCOUNT)
    before, old = (here.folder / ACCOUNTS).read_bytes(), dict(keyring.entries)
    await here.store().change(ID, renewed(1))
    keyring.entries |= old
    if place == "before the file":
        (here.folder / ACCOUNTS).write_bytes(before)

    expected = ACCOUNT if place == "before the file" else {**ACCOUNT, **renewed(1)}
    store = here.store()
    assert (await store.load()).record(ID) == expected
    await store.change(ID, renewed(2), if_unchanged={"refreshToken": expected["refreshToken"]})
    assert (await here.store().load()).record(ID) == {**ACCOUNT, **renewed(2)}
    assert len(keyring.entries) == 1


async def test_changes_of_one_account_that_are_written_together_are_all_there(
    here: Here, keyring: MemoryKeyring
) -> None:
    store = here.store()
    await store.add(ACCOUNT)

    await asyncio.gather(*(store.change(ID, renewed(number)) for number in range(1, 30)))

    assert (await here.store().load()).record(ID) == {**ACCOUNT, **renewed(29)}
    assert len(keyring.entries) == 1


# ----------------------------------------------------------------------------- which keyring it is


def test_without_the_library_people_are_told_how_to_get_it(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(StoreFailed, match=r"KA-KEYRING.*pip install keyring"):
        SystemKeyring().read("a")


@pytest.mark.parametrize(
    ("backend", "words"),
    [("keyring.backends.null.Keyring", "keeps no secret"), ("keyring.backends.fail.Keyring", "no keyring")],
)
def test_a_keyring_that_keeps_no_secret_is_refused_by_name(
    backend: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring

    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
    monkeypatch.setattr(keyring.core, "_keyring_backend", None)
    with pytest.raises(StoreFailed, match=words):
        SystemKeyring().read("a")


async def test_the_secrets_of_an_account_that_another_process_removed_are_forgotten(here: Here) -> None:
    here.written({**ORIGINAL, "accounts": []})
    apart = Apart(SystemKeyring(lambda: here.keyring), keeps_new=lambda: True)
    gateway = FileStore(here.folder, here.folder.parent / "locks", apart)
    await here.store().add(ACCOUNT)
    assert gateway.snapshot().accounts[0]["refreshToken"] == "refresh-0"
    assert "refresh-0" in str(apart._known)

    await here.store().remove(ID)

    assert gateway.snapshot().accounts == ()
    assert "refresh-0" not in f"{apart._known} {apart._whole}"
