"""The ledger's file: SQLite with a write-ahead log, mode 0600, bounded by age and size."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kiro_auth.events import noted
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.schema import INSERT, STEPS, values_of
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import make_folder, open_to_change
from kiro_auth.store.write_ahead import begin_write_ahead

log = logging.getLogger("kiro_auth.ledger")

KEPT_DAYS: Final = 400
"""How long a row is kept: a year, and the month before it to compare with."""
LARGEST: Final = 128 * 1024 * 1024
"""Bytes of rows; when they are more the oldest tenth goes.  About half a million turns."""
_LOOK_EVERY: Final = 1000
"""After so many new rows it is looked whether some are too old or too many."""
_BUSY_SECONDS: Final = 2.0
_DAY: Final = 86400.0
_DAMAGED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
# Without an adapter of its own the library looks for one of each None in three places.
sqlite3.register_adapter(type(None), lambda nothing: nothing)

_BESIDE: Final = ("", "-wal", "-shm")
"""What the names of a database's files end with."""


class SqliteFile:
    """Opened with the first rows; after an error it is opened anew.  For one thread."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._unlooked = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Write the rows, all or none.  Raises StoreFailed.

        A file that turns out damaged is kept under another name, and a new one begun.
        """
        try:
            try:
                self._add(rows)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self.close()
                self._put_aside()
                self._add(rows)
        except sqlite3.Error as error:
            self.close()
            raise StoreFailed(_unwritable(self.path, str(error))) from error
        except OSError as error:
            self.close()
            raise StoreFailed(_unwritable(self.path, reason(error))) from error

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _add(self, rows: Sequence[Row]) -> None:
        if self._connection is None:
            self._connection = opened(self.path)
            self._unlooked = _LOOK_EVERY
        with self._connection:
            self._connection.execute("begin immediate")
            self._connection.executemany(INSERT, map(values_of, rows))
            self._unlooked += len(rows)
            if self._unlooked >= _LOOK_EVERY:
                self._unlooked = 0
                trim(self._connection, self._clock())

    def _put_aside(self) -> None:
        for end in _BESIDE:
            file = self.path.with_name(self.path.name + end)
            if file.exists():
                file.replace(self.path.with_name(f"{self.path.name}.damaged{end}"))
        log.warning(
            "the ledger was damaged: it is kept as %s.damaged, and a new one is begun",
            self.path.name,
            extra=noted("ledger", state="damaged"),
        )


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    name: str = getattr(error, "sqlite_errorname", "")  # what the module itself raises has none
    return name.startswith(_DAMAGED)


def opened(path: Path) -> sqlite3.Connection:
    """A connection that writes; the file is made and brought up to date.

    Raises OSError, sqlite3.Error, StoreFailed for a ledger of a newer release.
    """
    make_folder(path.parent)
    os.close(open_to_change(path))  # with this the files beside it get its mode, 0600
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        begin_write_ahead(connection, _BUSY_SECONDS)
        for setting in ("synchronous = normal", "secure_delete = on"):
            connection.execute(f"pragma {setting}")
        with connection:
            connection.execute("begin immediate")
            _bring_up_to_date(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("pragma user_version").fetchone()[0]
    if version > len(STEPS):
        raise StoreFailed(_unwritable(path, "a newer release of this program has written it"))
    for step in STEPS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"pragma user_version = {len(STEPS)}")


def trim(connection: sqlite3.Connection, now: float, largest: int = LARGEST) -> None:
    """Remove rows that are too old, and the oldest tenths while they take more than `largest` bytes."""
    connection.execute("delete from turns where ended < ?", (now - KEPT_DAYS * _DAY,))
    while _room(connection) > largest:
        tenth = "select number from turns order by number limit (select count(*) / 10 + 1 from turns)"
        if not connection.execute(f"delete from turns where number in ({tenth})").rowcount:  # noqa: S608
            return


def _room(connection: sqlite3.Connection) -> int:
    """Bytes of the pages that hold something."""
    pages, free, size = (
        connection.execute(f"pragma {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def forget(path: Path) -> int:
    """Remove all rows, from the disk too; how many there were.  Raises StoreFailed."""
    if not path.exists():
        return 0
    try:
        connection = opened(path)
        try:
            count = connection.execute("delete from turns").rowcount
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreFailed(_unwritable(path, str(error))) from error
    except OSError as error:
        raise StoreFailed(_unwritable(path, reason(error))) from error
    return count


def _unwritable(path: Path, why: str) -> Failure:
    return Failure(
        code="KA-STORE",
        message=f"The ledger {path} cannot be written: {why}.",
        next_step="Make room or make it writable; `ledger: false` in kiro.json does without it.",
    )
