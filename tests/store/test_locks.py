"""A lock of the operating system, tried and freed by different threads."""

from __future__ import annotations

from pathlib import Path

from kiro_auth.store.locks import Lock


def test_a_lock_that_was_freed_is_not_taken_by_a_thread_that_begins_only_then(tmp_path: Path) -> None:
    """As when who waits for it is cancelled while the thread that looks has not begun."""
    late = Lock(tmp_path / "work.lock")
    late.free()

    assert not late.take()
    assert Lock(tmp_path / "work.lock").take()


def test_a_lock_has_one_holder_until_it_is_freed(tmp_path: Path) -> None:
    first, second = (Lock(tmp_path / "work.lock") for _ in range(2))

    assert first.take()
    assert not second.take(0.05)
    first.free()
    assert second.take()
