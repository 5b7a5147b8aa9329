"""Look into another program's SQLite file without leaving a trace.

Opening it in place, even for reading, may write beside it; so what is looked at is a copy.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copyfile

from kiro_auth.failures import Failure, StoreFailed


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as it stands, what is still in its write-ahead log included.  Raises StoreFailed."""
    try:
        with tempfile.TemporaryDirectory(prefix="kiro-auth-") as folder:  # mode 0700
            copy = Path(folder) / "copy.sqlite3"
            copyfile(path, copy)
            log = path.with_name(path.name + "-wal")
            if log.exists():
                copyfile(log, copy.with_name(copy.name + "-wal"))
            with closing(sqlite3.connect(copy)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
    except (sqlite3.Error, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"{path} cannot be read: {reason}.",
                next_step="If the program that owns it is writing just now, repeat it.",
            )
        ) from error


def tables(connection: sqlite3.Connection) -> set[str]:
    """The names of its tables."""
    return {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
