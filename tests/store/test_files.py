"""The default store: nothing is lost, nothing is half written, nothing is readable by others."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kiro_auth.failures import StoreFailed
from kiro_auth.store.files import ACCOUNTS, USAGE
from kiro_auth.store.json_file import MARK
from kiro_auth.store.protocol import StoreBusy
from support.examples import examples
from support.storing import HandStore, at_once

ORIGINAL = {
    "version": 1,
    "accounts": [
        {
            "id": "a" * 32,
            "email": "builder-id@aws.amazon.com",
            "authMethod": "idc",
            "isHealthy": True,
            "odd": [1],
        },
        {"id": "b" * 32, "email": "sso-user@aws.amazon.com", "authMethod": "sso", "accessToken": "t"},
    ],
    "activeIndex": 1,
    "fromTheFuture": {"kept": True},
}
"""A file as the original wrote it, with a field and a key that nobody knows."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "opencode"


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> HandStore:
    return HandStore(folder, tmp_path / "locks")


def written(folder: Path, value: Any = ORIGINAL, name: str = ACCOUNTS) -> bytes:
    """Put a file there, in a form that no encoder of ours would choose."""
    folder.mkdir(exist_ok=True)
    text = value if isinstance(value, bytes) else json.dumps(value, indent=7).encode()
    (folder / name).write_bytes(text)
    return text


def on_disk(folder: Path, name: str = ACCOUNTS) -> Any:
    return json.loads((folder / name).read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_reading_creates_nothing(store: HandStore, tmp_path: Path) -> None:
    assert store.accounts() == []
    assert store.usage() == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", [b"", b"  \n", b"{}", b'{"version": 1}'])
def test_an_untouched_file_of_the_original_is_an_empty_store(
    store: HandStore, folder: Path, text: bytes
) -> None:
    written(folder, text)

    assert store.accounts() == []
    store.add_account({"id": "new"})

    assert [account["id"] for account in store.accounts()] == ["new"]


def test_a_change_touches_its_fields_and_nothing_else(store: HandStore, folder: Path) -> None:
    written(folder)

    after = store.change_account("b" * 32, {"accessToken": "t2", "generation": 1})

    expected = json.loads(json.dumps(ORIGINAL))
    expected["accounts"][1] |= {"accessToken": "t2", "generation": 1}
    found = on_disk(folder)
    assert found.pop(MARK)
    assert found == expected
    assert after == expected["accounts"][1]


def test_none_removes_a_field(store: HandStore, folder: Path) -> None:
    written(folder)

    after = store.change_account("a" * 32, {"odd": None, "neverThere": None})

    assert after is not None
    assert "odd" not in after
    assert on_disk(folder)["accounts"][0] == after


def test_the_first_change_keeps_a_copy_byte_for_byte_and_later_ones_do_not(
    store: HandStore, folder: Path
) -> None:
    before = written(folder)

    store.change_account("a" * 32, {"x": 1})
    store.change_account("a" * 32, {"x": 2})

    (copy,) = folder.glob(f"{ACCOUNTS}.backup-*")
    assert copy.read_bytes() == before
    assert mode(copy) == 0o600


def test_a_change_that_changes_nothing_writes_nothing(store: HandStore, folder: Path) -> None:
    before = written(folder)

    assert store.change_account("gone", {"x": 1}) is None
    assert (
        store.change_account("a" * 32, {"x": 1}, if_unchanged={"isHealthy": False}) == ORIGINAL["accounts"][0]
    )
    assert not store.remove_account("gone")

    assert (folder / ACCOUNTS).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [ACCOUNTS]


def test_files_and_folders_are_for_the_owner_only(store: HandStore, folder: Path, tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        store.add_account({"id": "a"})
        store.set_usage("a", {"usedCount": 1})
    finally:
        os.umask(old_mask)

    assert {path.name: oct(mode(path)) for path in folder.iterdir()} == {ACCOUNTS: "0o600", USAGE: "0o600"}
    assert mode(folder) == mode(tmp_path / "locks") == 0o700
    assert all(mode(path) == 0o600 for path in (tmp_path / "locks").iterdir())


def test_a_file_that_others_could_read_becomes_private(store: HandStore, folder: Path) -> None:
    written(folder)
    (folder / ACCOUNTS).chmod(0o644)

    store.change_account("a" * 32, {"x": 1})

    assert mode(folder / ACCOUNTS) == 0o600


def test_removing_an_account_removes_its_usage_for_good(store: HandStore, folder: Path) -> None:
    for name in ("a", "b"):
        store.add_account({"id": name})
        store.set_usage(name, {"usedCount": 3, "limitCount": 50, "lastSync": 1})

    assert store.remove_account("a")

    assert [account["id"] for account in store.accounts()] == ["b"]
    assert on_disk(folder, USAGE)["usage"] == {"b": {"usedCount": 3, "limitCount": 50, "lastSync": 1}}


def test_a_reading_that_comes_after_the_removal_brings_nothing_back(store: HandStore, folder: Path) -> None:
    store.add_account({"id": "a"})
    store.set_usage("a", {"usedCount": 3})
    store.remove_account("a")

    store.set_usage("a", {"usedCount": 4})

    assert on_disk(folder, USAGE)["usage"] == {}


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("id"), inner, max_size=1),
    max_leaves=3,
)


@given(entries=st.lists(odd, max_size=4), at=st.integers(0, 4), active=st.integers(-1, 5))
def test_odd_entries_hide_no_account_and_survive_every_change(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], at: int, active: int
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    rows = [*entries[:at], {"id": "a", "label": "A"}, *entries[at:]]
    document = {"accounts": rows, "activeIndex": active}
    written(folder, json.dumps(document).encode())
    store = HandStore(folder, folder / "locks")

    assert len(store.accounts()) == len(rows)
    assert {"id": "a", "label": "A"} in store.accounts()
    store.change_account("a", {"label": "B"})
    store.add_account({"id": "new"})
    store.remove_account("new")

    expected = [row if row != {"id": "a", "label": "A"} else {"id": "a", "label": "B"} for row in rows]
    assert on_disk(folder, ACCOUNTS)["accounts"] == expected


def test_an_odd_usage_row_hides_no_other_and_is_replaced_by_a_good_one(
    store: HandStore, folder: Path
) -> None:
    for name in "ab":
        store.add_account({"id": name})
    (folder / USAGE).write_text(json.dumps({"usage": {"a": 5, "b": {"usedCount": 3}, "c": ["x"]}}))

    assert store.usage() == {"b": {"usedCount": 3}}
    store.set_usage("a", {"usedCount": 1})

    assert on_disk(folder, USAGE)["usage"] == {"a": {"usedCount": 1}, "b": {"usedCount": 3}, "c": ["x"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"version": 1, "accounts": [', "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "does not hold a JSON object"),
        (b'{"version": 2, "accounts": []}', "has version 2"),
        (b'{"accounts": {}}', "`accounts` is not a list"),
    ],
    ids=[
        "cut",
        "not UTF-8",
        "too deep",
        "no object",
        "newer version",
        "accounts no list",
    ],
)
def test_a_file_that_cannot_be_understood_is_named_and_left_alone(
    store: HandStore, folder: Path, text: bytes, words: str
) -> None:
    written(folder, text)

    for call in (
        store.accounts,
        lambda: store.add_account({"id": "new"}),
        lambda: store.change_account("a", {}),
    ):
        with pytest.raises(StoreFailed) as raised:
            call()
        assert raised.value.failure.code == "KA-STORE"
        assert str(folder / ACCOUNTS) in raised.value.failure.message
        assert words in raised.value.failure.message
        assert raised.value.failure.next_step

    assert (folder / ACCOUNTS).read_bytes() == text


@settings(
    max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
            lambda value: json.dumps({"accounts": value}).encode()
        ),
    )
)
def test_any_bytes_give_accounts_or_a_clear_failure(tmp_path: Path, text: bytes) -> None:
    written(tmp_path, text)

    with contextlib.suppress(StoreFailed):
        found = HandStore(tmp_path, tmp_path / "locks").accounts()
        assert all(isinstance(account, dict) for account in found)


@pytest.mark.parametrize("name", ["accounts", "usage"])
def test_a_path_that_cannot_be_read_is_named_with_the_reason(
    store: HandStore, folder: Path, name: str
) -> None:
    (folder / ACCOUNTS).mkdir(parents=True)
    (folder / USAGE).mkdir()

    with pytest.raises(StoreFailed, match="it is a folder and not a file"):
        getattr(store, name)()


def test_a_full_disk_leaves_the_old_file_and_no_rest(
    store: HandStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests run as root, whom no mode stops, so the system call itself says no."""
    before = written(folder)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFailed, match="the disk is full") as raised:
        store.change_account("a" * 32, {"x": 1})

    assert str(folder / ACCOUNTS) in raised.value.failure.message
    assert (folder / ACCOUNTS).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [ACCOUNTS]


def test_a_folder_that_cannot_be_made_is_a_clear_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreFailed, match=r"is a file, not a folder|a file is there already"):
        HandStore(tmp_path / "file" / "opencode", tmp_path / "locks").add_account({"id": "a"})
    with pytest.raises(StoreFailed, match=r"it is not a folder \(KA-STORE\)\. Move away .*file\."):
        HandStore(tmp_path / "opencode", tmp_path / "file").add_account({"id": "a"})


def test_what_another_store_wrote_is_seen_at_once(store: HandStore, folder: Path, tmp_path: Path) -> None:
    other = HandStore(folder, tmp_path / "locks")
    store.add_account({"id": "a", "n": 1000})

    for number in range(1001, 1200):
        other.change_account("a", {"n": number})
        assert store.accounts()[0]["n"] == number


def test_a_change_within_one_tick_of_the_clock_is_seen(store: HandStore, folder: Path) -> None:
    """Nothing that can be asked of the file tells the two states apart, so a young file is read again."""
    path, tick = folder / ACCOUNTS, time.time_ns() + 5_000_000_000
    for name in ("a", "b"):
        written(folder, {"accounts": [{"id": name}]})
        os.utime(path, ns=(tick, tick))
        assert store.accounts() == [{"id": name}]


WRITER = """
import asyncio, sys
from pathlib import Path
from kiro_auth.store.files import FileStore
store = FileStore(Path(sys.argv[1]), Path(sys.argv[2]))
me = sys.argv[3]

async def main():
    await store.add({"id": me})
    for number in range(15):
        await store.change(me, {"n": number})
        await store.change("shared", {me: number})
        await store.change_usage(me, {"usedCount": number})

asyncio.run(main())
"""


@pytest.mark.outside
def test_four_processes_lose_no_change(store: HandStore, folder: Path, tmp_path: Path) -> None:
    store.add_account({"id": "shared"})
    names = ["p1", "p2", "p3", "p4"]

    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), str(tmp_path / "locks"), name])
        for name in names
    ]

    assert [process.wait(50) for process in processes] == [0] * 4
    by_id = {account.pop("id"): account for account in store.accounts()}
    assert by_id == {"shared": dict.fromkeys(names, 14), **{name: {"n": 14} for name in names}}
    assert store.usage() == {name: {"usedCount": 14} for name in names}


HOLDER = """
import asyncio, sys
from pathlib import Path
from kiro_auth.store.files import FileStore

async def main():
    async with FileStore(Path(sys.argv[1]), Path(sys.argv[2])).lease(sys.argv[3], 600):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.outside
@pytest.mark.parametrize("name", ["kiro-accounts", "refresh-a"])
async def test_a_process_that_is_killed_holding_a_lease_blocks_nobody(
    store: HandStore, folder: Path, tmp_path: Path, name: str
) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder), str(tmp_path / "locks"), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy):
            async with store.lease(name, 1):
                pass
        holder.kill()
        holder.wait(40)

    async with store.lease(name, 1):
        pass
    store.add_account({"id": "a"})


def test_files_that_did_not_change_are_looked_at_and_not_decoded(
    store: HandStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder)
    for name in (ACCOUNTS, USAGE):
        if name == USAGE:
            written(folder, {"usage": {"a": {"usedCount": 1}}}, USAGE)
        os.utime(folder / name, ns=(10**18, 10**18))
    before = store.snapshot()

    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read"))
    monkeypatch.setattr("kiro_auth.store.json_file.decoded", lambda _: pytest.fail("it is decoded"))

    for _ in range(100):
        assert store.snapshot().accounts is before.accounts
        assert store.snapshot().usage is before.usage


def test_a_young_file_is_read_again_but_not_decoded(
    store: HandStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder)
    before = store.snapshot()

    monkeypatch.setattr("kiro_auth.store.json_file.decoded", lambda _: pytest.fail("it is decoded"))

    assert store.snapshot().accounts is before.accounts


POWERLESS = """
import asyncio, concurrent.futures.thread, os, resource, sys
from pathlib import Path
from kiro_auth.failures import StoreFailed
from kiro_auth.store.files import FileStore
store = FileStore(Path(sys.argv[1]), Path(sys.argv[2]))
if sys.argv[3] == "no space":
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))
elif os.getuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(store.change("a" * 32, {"label": "x" * 100}))
except StoreFailed as error:
    print(error.failure.sentence())
"""


@pytest.mark.skipif(os.name != "posix", reason="limits and modes of POSIX")
@pytest.mark.parametrize(
    ("trouble", "words"), [("no space", "file would be too large"), ("read-only", "no permission")]
)
@pytest.mark.outside
def test_where_nothing_can_be_written_the_old_file_stays_and_the_reason_is_told(
    tmp_path: Path, trouble: str, words: str
) -> None:
    folder, locks = tmp_path / "opencode", tmp_path / "locks"
    HandStore(folder, locks).add_account({"id": "a" * 32})
    before = (folder / ACCOUNTS).read_bytes()
    if trouble == "read-only":
        for path, mode in ((folder / ACCOUNTS, 0o644), (folder, 0o555), (locks, 0o777), (tmp_path, 0o755)):
            path.chmod(mode)
        for path in [*locks.iterdir(), *tmp_path.parents][:-1]:
            path.chmod(path.stat().st_mode | (0o666 if path.is_file() else 0o055))

    done = subprocess.run(
        [sys.executable, "-c", POWERLESS, str(folder), str(locks), trouble],
        capture_output=True,
        text=True,
        timeout=120,
    )
    folder.chmod(0o700)

    assert words in done.stdout, done.stderr
    assert "Check the folder's owner, its mode, and that the disk has space." in done.stdout
    assert (folder / ACCOUNTS).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [ACCOUNTS]


def test_a_file_behind_a_link_changes_and_the_link_stays(tmp_path: Path) -> None:
    real, linked = tmp_path / "dotfiles" / ACCOUNTS, tmp_path / ACCOUNTS
    real.parent.mkdir()
    real.write_text(json.dumps(ORIGINAL))
    linked.symlink_to(real)

    HandStore(tmp_path, tmp_path / "locks").add_account({"id": "c"})

    assert linked.is_symlink()
    assert [row["id"] for row in json.loads(real.read_text())["accounts"]][-1] == "c"


# ----------------------------------------------------------------------------- secrets left behind

WITH_SECRETS: dict[str, Any] = {
    "version": 1,
    "accounts": [
        {"id": "a" * 32, "accessToken": "access-of-a", "refreshToken": "refresh-of-a"},
        {"id": "b" * 32, "accessToken": "access-of-b", "refreshToken": "refresh-of-b"},
    ],
    "activeIndex": 1,
    "fromTheFuture": {"kept": True},
}


def holders(folder: Path, secret: str) -> list[Path]:
    """The files in whose text it stands."""
    return [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_the_account_removed_from_an_untouched_file_of_the_original_is_in_no_copy_of_it(
    store: HandStore, folder: Path, tmp_path: Path
) -> None:
    written(folder, WITH_SECRETS)

    assert store.remove_account("a" * 32)

    assert holders(tmp_path, "of-a") == []
    (copy,) = folder.glob(f"{ACCOUNTS}.backup-*")
    assert json.loads(copy.read_bytes()) == {
        **WITH_SECRETS,
        "accounts": WITH_SECRETS["accounts"][1:],
        "activeIndex": 0,
    }


def test_a_removal_takes_the_account_out_of_older_copies_and_leaves_the_others_in(
    store: HandStore, folder: Path, tmp_path: Path
) -> None:
    written(folder, WITH_SECRETS)
    store.change_account("b" * 32, {"x": 1})  # keeps a copy
    (folder / f"{ACCOUNTS}.backup-20200101T000000Z").write_text(json.dumps(WITH_SECRETS))

    store.remove_account("a" * 32)

    assert holders(tmp_path, "of-a") == []
    assert len(holders(tmp_path, "refresh-of-b")) == 3
    assert {mode(path) for path in folder.glob("*.backup-*")} == {0o600}


def test_a_copy_that_cannot_be_read_is_named_as_it_may_hold_tokens_still(
    store: HandStore, folder: Path
) -> None:
    written(folder, WITH_SECRETS)
    damaged = folder / f"{ACCOUNTS}.backup-20200101T000000Z"
    damaged.write_text("access-of-a {")

    with pytest.raises(StoreFailed, match=r"It is removed, but \S*backup-20200101T000000Z, a copy") as raised:
        store.remove_account("a" * 32)

    assert f"rm {damaged}" in str(raised.value)
    assert [account["id"] for account in store.accounts()] == ["b" * 32]
    assert damaged.read_text() == "access-of-a {"


@pytest.mark.parametrize("clears", ["start", "change", "removal"])
def test_files_with_tokens_that_killed_writers_left_are_removed(
    store: HandStore, folder: Path, clears: str
) -> None:
    written(folder, WITH_SECRETS)
    store.change_account("b" * 32, {"x": 1})
    for name in (ACCOUNTS, USAGE):
        (folder / f".{name}-abc_d3fg").write_text("access-of-a, half")
    kept = folder / f".{ACCOUNTS}-of-mine"
    kept.write_text("mine")

    if clears == "start":
        at_once(store.clear_leftovers())
    elif clears == "change":
        store.change_account("a" * 32, {"x": 1})
        store.set_usage("a" * 32, {"usedCount": 1})
    else:
        store.set_usage("a" * 32, {"usedCount": 1})
        store.remove_account("a" * 32)

    assert sorted(path.name for path in folder.glob(".*")) == [kept.name]


KILLED_WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from kiro_auth.store.files import FileStore
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(FileStore(Path(sys.argv[1]), Path(sys.argv[2])).change("a" * 32, {"x": 1}))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.outside
def test_a_writer_that_is_killed_leaves_no_file_beyond_the_next_start(
    store: HandStore, folder: Path, tmp_path: Path
) -> None:
    written(folder, WITH_SECRETS)
    store.change_account("b" * 32, {"x": 1})

    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(folder), str(tmp_path / "locks")], timeout=120)
    assert len(list(folder.glob(f".{ACCOUNTS}-*"))) == 1
    at_once(store.clear_leftovers())

    assert list(folder.glob(f".{ACCOUNTS}-*")) == []


def test_the_account_in_use_is_noted_as_the_original_does(tmp_path: Path) -> None:
    store = HandStore(tmp_path, tmp_path / "locks")
    assert store.active() is None
    for name in "ab":
        store.add_account({"id": name})
    assert store.active() is None

    at_once(store.note_active("b"))
    at_once(store.note_active("gone"))

    assert store.active() == "b"
    assert json.loads((tmp_path / "kiro-accounts.json").read_text())["activeIndex"] == 1
    store.remove_account("a")
    assert store.active() == "b"
    store.remove_account("b")
    assert store.active() is None
