"""New tokens that the store does not have yet: kept at once, found by whoever comes next, then forgotten."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kiro_auth.failures import StoreFailed
from kiro_auth.store.ahead import AheadFiles, path_of
from kiro_auth.store.protocol import Renewed

ODD_IDS = ["a" * 32, "../../up", "/etc/passwd", "", "\x00", "x" * 5000, "\udc80", "a\nb"]
RENEWED = Renewed("a", "spent", {"accessToken": "t" * 3000, "refreshToken": "r" * 3000, "generation": 7})


PLACE = "here"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "renewals"


@pytest.fixture
def ahead(folder: Path) -> AheadFiles:
    return AheadFiles(folder, PLACE)


async def test_what_is_kept_is_found_by_another_process_until_it_is_forgotten(
    ahead: AheadFiles, folder: Path
) -> None:
    await ahead.prepare("a")
    assert await AheadFiles(folder, PLACE).kept("a") is None

    ahead.keep(RENEWED)

    assert await AheadFiles(folder, PLACE).kept("a") == RENEWED
    assert await AheadFiles(folder, PLACE).kept("b") is None
    ahead.forget("a")
    assert await AheadFiles(folder, PLACE).kept("a") is None
    assert list(folder.iterdir()) == []


async def test_newer_tokens_take_the_place_of_longer_older_ones(ahead: AheadFiles, folder: Path) -> None:
    ahead.keep(RENEWED)
    await ahead.prepare("a")
    assert await ahead.kept("a") == RENEWED

    newer = Renewed("a", "spent", {"accessToken": "u"})
    ahead.keep(newer)

    assert await AheadFiles(folder, PLACE).kept("a") == newer


async def test_tokens_longer_than_any_seen_are_kept_too(ahead: AheadFiles) -> None:
    long = Renewed("a", None, {"accessToken": "t" * 500_000})

    ahead.keep(long)

    assert await ahead.kept("a") == long


@pytest.mark.parametrize("id_", ODD_IDS)
async def test_the_name_of_the_file_is_made_and_not_taken(ahead: AheadFiles, folder: Path, id_: str) -> None:
    await ahead.prepare(id_)

    (path,) = (path for path in folder.parent.parent.rglob("*") if path.is_file())
    assert path.parent == folder
    assert path.stem.isalnum()
    assert await ahead.pending([id_]) == [id_]
    ahead.forget(id_)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
async def test_it_is_for_this_user_alone_whatever_the_umask(ahead: AheadFiles, folder: Path) -> None:
    before = os.umask(0)
    try:
        await ahead.prepare("a")
    finally:
        os.umask(before)

    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
async def test_no_link_in_its_place_is_written_through(
    ahead: AheadFiles, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("mine")
    folder.mkdir(parents=True)
    path_of(folder, "a", PLACE).symlink_to(tmp_path / "precious")

    with pytest.raises(StoreFailed, match="it is a link"):
        ahead.keep(RENEWED)

    assert (tmp_path / "precious").read_text() == "mine"


async def test_what_was_prepared_needs_no_more_space_of_the_disk(
    ahead: AheadFiles, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the file is the same before and after, as is that of any file it would have to make."""
    await ahead.prepare("a")
    before = path_of(folder, "a", PLACE).stat()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "open", full)
    ahead.keep(RENEWED)
    monkeypatch.undo()

    after = path_of(folder, "a", PLACE).stat()
    assert (after.st_size, after.st_blocks, after.st_ino) == (before.st_size, before.st_blocks, before.st_ino)


async def test_a_half_written_file_holds_nothing(ahead: AheadFiles, folder: Path) -> None:
    ahead.keep(RENEWED)
    path = path_of(folder, "a", PLACE)
    path.write_bytes(path.read_bytes()[:200].ljust(32768))

    assert await ahead.kept("a") is None


async def test_of_accounts_that_are_gone_everything_is_forgotten_once_no_backup_is_to_be_expected(
    ahead: AheadFiles, folder: Path
) -> None:
    """A database may be empty for hours, until its backup is back."""
    ahead.keep(RENEWED)
    await ahead.prepare("b")
    await ahead.prepare("of which nothing is kept")

    assert await ahead.pending(["b", "c"]) == ["b"]
    assert await AheadFiles(folder, PLACE).kept("a") == RENEWED
    assert len([*folder.iterdir()]) == 2

    week_ago = time.time() - 7 * 86400 - 1
    os.utime(path_of(folder, "a", PLACE), (week_ago, week_ago))
    assert await ahead.pending(["b", "c"]) == ["b"]
    assert [path.name for path in folder.iterdir()] == [path_of(folder, "b", PLACE).name]


async def test_what_another_store_of_the_user_keeps_is_left_alone_and_found_by_one_that_has_the_account(
    ahead: AheadFiles, folder: Path
) -> None:
    ahead.keep(RENEWED)
    week_ago = time.time() - 7 * 86400 - 1
    os.utime(path_of(folder, "a", PLACE), (week_ago, week_ago))
    other = AheadFiles(folder, "another store")
    await other.prepare("b")

    assert await other.pending(["b"]) == ["b"]
    assert await AheadFiles(folder, PLACE).kept("a") == RENEWED
    assert await ahead.pending(["a"]) == ["a"]
    assert sorted(await other.pending(["a", "b"])) == ["a", "b"], "it was copied there"
    assert await other.kept("a") == RENEWED


async def test_a_file_that_names_no_store_is_neither_read_nor_removed(
    ahead: AheadFiles, folder: Path
) -> None:
    ahead.keep(RENEWED)
    path = path_of(folder, "a", PLACE)
    other = path.rename(path.with_name(f"{path.stem[:32]}.json"))
    os.utime(other, (0, 0))
    again = AheadFiles(folder, PLACE)

    assert await again.kept("a") is None
    assert await again.pending(["b"]) == []
    again.forget("a")
    assert list(folder.iterdir()) == [other]


KEPT_AND_KILLED = """
import os, signal, sys
from pathlib import Path
from kiro_auth.store.ahead import AheadFiles
from kiro_auth.store.protocol import Renewed
AheadFiles(Path(sys.argv[1]), "here").keep(Renewed("a", "spent", {"accessToken": "t"}))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.outside
async def test_a_kill_right_after_it_was_kept_undoes_nothing(ahead: AheadFiles, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", KEPT_AND_KILLED, str(folder)], timeout=120)

    assert await ahead.kept("a") == Renewed("a", "spent", {"accessToken": "t"})
