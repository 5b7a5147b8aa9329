"""SQLite's write-ahead log, with which readers wait for no writer."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

_LOOK_SECONDS: Final = 0.02


def begin_write_ahead(connection: sqlite3.Connection, seconds: float) -> None:
    """Have the file keep a write-ahead log; wait so many seconds for others.  Raises sqlite3.Error.

    SQLite refuses this at once, whatever its own time to wait is, while others do the same with a new file
    (seen with 3.40.1: 2 of 1,800 connections, twelve at a time).
    """
    end = time.monotonic() + seconds
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            name = getattr(error, "sqlite_errorname", "")
            if not name.startswith("SQLITE_BUSY") or time.monotonic() >= end:
                raise
        time.sleep(_LOOK_SECONDS)
