"""Look into another program's SQLite file without leaving a trace.

Opening it in place, even for reading, may write beside it; so what is looked at is a copy.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Final

from kiro_auth.login.tools.tool import unreadable

_TRIES: Final = 3
_PREFIX: Final = "kiro-auth-copy-"
_LOOK_SECONDS: Final = 60.0
"""Longer than any look takes."""


def clear_copies() -> None:
    """Remove the copies that processes left which were killed while they looked: tokens are in them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            status = folder.lstat()
            is_ours = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
            if is_ours and time.time() - status.st_mtime > _LOOK_SECONDS:
                rmtree(folder, ignore_errors=True)


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """The database as it stands, what is still in its write-ahead log included.  Raises StoreFailed."""
    clear_copies()
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:  # mode 0700
            copy = Path(folder) / "copy.sqlite3"
            _copy(path, copy)
            with closing(sqlite3.connect(copy)) as connection:
                connection.row_factory = sqlite3.Row
                connection.text_factory = _text
                yield connection
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # Python decodes what SQLite says of damage
        raise unreadable(path, error) from error


def tables(connection: sqlite3.Connection) -> set[str]:
    """The names of its tables."""
    return {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}


def _text(value: bytes) -> str:
    return value.decode(errors="replace")  # one damaged row hides no other


def _copy(path: Path, copy: Path) -> None:
    """The database and its log as they stood together; its owner may be moving one into the other."""
    log, log_copy = (place.with_name(place.name + "-wal") for place in (path, copy))
    for _ in range(_TRIES):
        before = _look(path), _look(log)
        log_copy.unlink(missing_ok=True)
        copyfile(path, copy)
        if log.exists():
            copyfile(log, log_copy)
        if before == (_look(path), _look(log)):
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _look(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
