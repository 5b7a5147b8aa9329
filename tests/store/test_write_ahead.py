"""A new file of SQLite that several programs open in the same moment."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from kiro_auth.store.write_ahead import begin_write_ahead


def connected(path: Path) -> sqlite3.Connection:
    """One that SQLite refuses at once, as it does while others begin the same log."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def test_it_is_tried_again_while_another_one_has_the_file(tmp_path: Path) -> None:
    with (
        contextlib.closing(connected(tmp_path / "x")) as other,
        contextlib.closing(connected(tmp_path / "x")) as connection,
    ):
        other.execute("begin exclusive")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("pragma journal_mode = wal")
        leaving = threading.Timer(0.1, other.execute, ["commit"])
        leaving.start()

        begin_write_ahead(connection, 30)

        leaving.join()
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_after_its_time_it_is_said(tmp_path: Path) -> None:
    with (
        contextlib.closing(connected(tmp_path / "x")) as other,
        contextlib.closing(connected(tmp_path / "x")) as connection,
    ):
        other.execute("begin exclusive")
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            begin_write_ahead(connection, 0.1)
        assert time.monotonic() - begun >= 0.1
