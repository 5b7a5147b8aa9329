"""A lock of the operating system, tried and freed by different threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_auth.store.locks import Lock, Locks
from kiro_auth.store.protocol import StoreBusy


def test_a_lock_that_was_freed_is_not_taken_by_a_thread_that_begins_only_then(tmp_path: Path) -> None:
    """As when who waits for it is cancelled while the thread that looks has not begun."""
    late = Lock(tmp_path / "work.lock")
    late.free()

    assert not late.take()
    assert Lock(tmp_path / "work.lock").take()


@pytest.mark.parametrize(
    "name", ["refresh-/../../up", "/etc/x", "..", "", "a\nb", "\x00", "x" * 5000, "\udc80", "refresh-a.b"]
)
def test_the_file_of_a_lock_is_in_its_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    locks, again = Locks(tmp_path / "a" / "locks"), Locks(tmp_path / "a" / "locks")

    with locks.held(name, wait=0), pytest.raises(StoreBusy), again.held(name, wait=0):
        pass

    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a" / "locks"]


def test_a_plain_name_is_that_of_the_file_which_older_releases_lock(tmp_path: Path) -> None:
    with Locks(tmp_path).held(f"refresh-{'a' * 32}", wait=0):
        assert [path.name for path in tmp_path.iterdir()] == [f"refresh-{'a' * 32}.lock"]


def test_a_lock_has_one_holder_until_it_is_freed(tmp_path: Path) -> None:
    first, second = (Lock(tmp_path / "work.lock") for _ in range(2))

    assert first.take()
    assert not second.take(0.05)
    first.free()
    assert second.take()
