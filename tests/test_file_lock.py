"""A lock of ours excludes other processes, and the library that took it before and elsewhere."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

from kiro_auth import file_lock
from kiro_auth.file_lock import FileLock

HOLDER = """
import sys, time
from pathlib import Path
from kiro_auth.file_lock import FileLock
print(FileLock(Path(sys.argv[1])).take(), flush=True)
time.sleep(60)
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="there it is the library's lock in any case")


def without_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no locks here")

    here = SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0)  # the library still has the true one
    monkeypatch.setattr(file_lock, "fcntl", here)


def test_one_of_two_has_it_until_it_is_freed(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")

    assert (first.take(), first.take(), second.take(0.05, look=0.01)) == (True, True, False)
    assert (first.is_held, second.is_held) == (True, False)
    first.free()
    assert second.take()
    first.free()
    assert second.is_held
    second.free()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    lock.take()
    assert (tmp_path / "a.lock").stat().st_mode & 0o077 == 0 or sys.platform == "win32"
    lock.free()


@pytest.mark.outside
def test_a_process_that_dies_frees_it(tmp_path: Path) -> None:
    path, mine = tmp_path / "a.lock", FileLock(tmp_path / "a.lock")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not mine.take()
        holder.kill()
    assert mine.take(5)
    mine.free()


@posix
def test_the_library_and_ours_exclude_each_other(tmp_path: Path) -> None:
    """Releases before this one lock the same files with the library."""
    ours, library = FileLock(tmp_path / "a.lock"), filelock.FileLock(tmp_path / "a.lock")
    with library:
        assert not ours.take()
    assert ours.take()
    with pytest.raises(filelock.Timeout):
        library.acquire(timeout=0)
    ours.free()


@posix
def test_a_file_that_was_removed_while_it_was_held_excludes_nobody(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    first.take()
    (tmp_path / "a.lock").unlink()

    assert second.take()
    first.free()
    second.free()


@posix
def test_where_the_file_system_cannot_lock_the_library_finds_a_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_flock(monkeypatch)
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")

    assert (first.take(), second.take()) == (True, False)
    first.free()
    assert second.take()
    second.free()


def test_what_is_no_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.lock").mkdir()

    with pytest.raises(IsADirectoryError, match=r"a\.lock"):
        FileLock(tmp_path / "a.lock").take()
