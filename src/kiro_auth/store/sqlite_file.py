"""One SQLite file that several processes of one user on one machine use: its connections and its tables.

It has a write-ahead log, so that who reads never waits for who writes, and mode 0600; so have the files that
SQLite puts beside it.  One connection writes, in threads; another one only reads, and tells by `data_version`
in a few microseconds whether anything changed, in whatever process.  Nothing else here opens the file, as to
close it would free the locks of the whole process.

Why sqlite3: it is in Python's standard library, and what is written survives a process that is killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from kiro_auth.failures import StoreFailed
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, make_folder, open_to_read
from kiro_auth.store.json_file import failed, unusable
from kiro_auth.store.together import Outcome
from kiro_auth.store.write_ahead import begin_write_ahead

T = TypeVar("T")
Change: TypeAlias = Callable[[sqlite3.Connection], None]
"""Changes rows, in a transaction; one that raises ValueError or StoreFailed has changed nothing yet."""
Version: TypeAlias = tuple[int, int]
"""A state of the file, for one reader of it: how often it was opened, and SQLite's `data_version`."""

_WRITE_SECONDS: Final = 15.0
"""The longest wait for another process that writes."""
_READ_SECONDS: Final = 1.0
"""The same for reading, which waits only while another process repairs what a killed one left."""
_OTHERS: Final = 0o077
STEPS: Final[tuple[tuple[str, ...], ...]] = (
    (
        # `position` orders accounts as they were added.  `revision` is that of the last change of a row, of
        # those that `state` counts; it counts removals too, as a row that is gone has no revision.
        """
        create table accounts (
            position integer primary key autoincrement,
            id text not null unique,
            revision integer not null,
            record blob not null,
            usage blob
        )
        """,
        "create index accounts_by_revision on accounts (revision)",
        """
        create table state (
            revision integer not null,
            removals integer not null,
            keys_revision integer not null,
            active text
        )
        """,
        "insert into state values (0, 0, 0, null)",
        # How many of the places of a name each process holds.
        """
        create table places (
            name text not null,
            process text not null,
            taken integer not null,
            primary key (name, process)
        ) without rowid
        """,
        # `session` is hashed; `used` is a day since 1970.
        "create table homes (session blob primary key, account text not null, used integer not null)",
        # Client keys, their hashes and limits, as JSON.
        "create table keys (position integer primary key, id text not null unique, key text not null)",
        """
        create table key_audit (
            number integer primary key,
            moment real not null,
            who text not null,
            what text not null,
            key_id text not null,
            key_name text not null,
            limits text not null
        )
        """,
    ),
)
"""What each step does, from number 1 on.  Steps only add, so that two releases can share a file."""


class SqliteFile:
    """The file at `path`, which is made with the first change.  Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _Kept(path, _WRITE_SECONDS)
        self._reader = _Kept(path, _READ_SECONDS)
        self.close = weakref.finalize(self, _close, self._writer, self._reader)
        """Closes it; so does the end of the program."""

    def write(self, changes: Sequence[Change], *, durable: bool = True) -> list[Outcome]:
        """Make these changes in one transaction, and say what became of each.  Raises StoreFailed for all.

        What is `durable` is on the disk then; else only a machine that loses its power can lose it.
        """
        with self._used(self._writer, makes_it=True) as connection:
            assert connection is not None
            connection.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
            connection.execute("begin immediate")
            try:
                outcomes = [_made(change, connection) for change in changes]
                connection.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("rollback")
                raise
            return outcomes

    def migrate(self) -> list[int]:
        """Make the file and the tables that it lacks; the numbers of the steps made.  Raises StoreFailed."""
        with self._used(self._writer, makes_it=True):
            return self._writer.steps

    def empty_log(self) -> None:
        """Have nothing left of what was removed or replaced, in the write-ahead log either.

        Raises StoreFailed.
        """
        with self._used(self._writer) as connection:
            if connection is not None and connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
                raise failed(
                    f"It is done, but {self.path}-wal may hold the tokens still, as a program reads there.",
                    "They are gone when the programs that use the file have ended: kiro-auth stop",
                )

    def version(self) -> Version | None:
        """Which state the file has; None when there is none.  Raises StoreFailed."""
        with self._used(self._reader) as connection:
            if connection is None:
                return None
            return self._reader.openings, connection.execute("pragma data_version").fetchone()[0]

    def read(self, look: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What `look` finds, all of one moment; `otherwise` when there is no file.  Raises StoreFailed."""
        with self._used(self._reader) as connection:
            if connection is None:
                return otherwise
            connection.execute("begin")
            try:
                return look(connection)
            finally:
                connection.execute("rollback")

    @contextlib.contextmanager
    def _used(self, kept: _Kept, *, makes_it: bool = False) -> Any:
        with kept.guard:
            try:
                yield kept.connection(makes_it=makes_it)
            except sqlite3.Error as error:
                kept.drop()
                raise _unusable(self.path, error) from error
            except OSError as error:
                kept.drop()
                raise unusable(self.path, error) from error


class _Kept:
    """A connection that stays open as long as the same file lies there."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.guard = threading.Lock()
        self.openings = 0
        self.steps: list[int] = []  # that were made as it was opened
        self._path = path
        self._seconds = seconds
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None

    def connection(self, *, makes_it: bool) -> sqlite3.Connection | None:
        """None when there is no file and none is to be made.  Raises OSError, sqlite3.Error."""
        inode = _inode(self._path)
        if self._connection is not None and inode == self._inode:
            return self._connection
        self.drop()
        if inode is None:
            if not makes_it:
                return None
            _make(self._path)
            inode = _inode(self._path)
        self._connection, self.steps = _opened(self._path, self._seconds)
        self._inode = inode
        self.openings += 1
        return self._connection

    def drop(self) -> None:
        """Close it; the next use opens it anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _make(path: Path) -> None:
    """Make it empty, unless another one does meanwhile: what was made before is not opened here."""
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _opened(path: Path, seconds: float) -> tuple[sqlite3.Connection, list[int]]:
    """A connection, and the numbers of the steps that it made."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        os.close(open_to_read(path))  # raises, and says in words what it is
    if hasattr(os, "geteuid") and status.st_uid not in (os.geteuid(), 0):
        raise Unusable(path, "it belongs to another user")
    if stat.S_IMODE(status.st_mode) & _OTHERS and os.name == "posix":
        path.chmod(0o600)
    address = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        address, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False
    )
    try:
        begin_write_ahead(connection, seconds)
        connection.execute("pragma secure_delete = on")
        steps = _bring_up_to_date(connection) if _steps_made(connection) < len(STEPS) else []
    except BaseException:
        connection.close()
        raise
    return connection, steps


def _steps_made(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _bring_up_to_date(connection: sqlite3.Connection) -> list[int]:
    connection.execute("begin immediate")
    missing = list(range(_steps_made(connection) + 1, len(STEPS) + 1))
    for number in missing:
        for statement in STEPS[number - 1]:
            connection.execute(statement)
        connection.execute(f"pragma user_version = {number}")
    connection.execute("commit")
    return missing


def _made(change: Change, connection: sqlite3.Connection) -> Outcome:
    try:
        change(connection)
    except (StoreFailed, ValueError) as error:
        return error
    return None


def _close(*connections: _Kept) -> None:
    for each in connections:
        with each.guard:
            each.drop()


def _unusable(path: Path, error: sqlite3.Error) -> StoreFailed:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return failed(
            f"Another program writes in {path} for long.",
            "Look for a kiro-auth process that hangs, and end it.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return failed(
            f"{path} is damaged: it is no database that SQLite can read.",
            "Put it back from a backup, or move it away and sign in again: kiro-auth login",
        )
    why = reason(OSError(errno.ENOSPC, "")) if name == "SQLITE_FULL" else str(error)
    return failed(
        f"{path} cannot be read or written: {why}.",
        "Check the folder's owner, its mode, and that the disk has space.",
    )
