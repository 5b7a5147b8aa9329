"""Turns that are not in the database yet: a line each, in a file of this process alone.

A line is written in one step before the client can know that its turn has ended, so a process that is killed
leaves every turn behind.  Whoever starts on the same state folder, or runs there, takes over the files whose
process is gone: each has a lock beside it, which the system frees when its process ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiro_auth.file_lock import FileLock
from kiro_auth.regular_files import make_folder, open_to_append, open_to_read

FOLDER: Final = "ledger-spool"
"""In the state folder."""
_LINES, _LOCK = ".jsonl", ".lock"
_PAGE: Final = 512 * 1024
"""Bytes that are read at once; a line has about 600."""


class Spool:
    """One file of lines, the oldest first.  Lines are added in one thread and taken in another.

    Its lock is held here: by the process that made it, or by the one that took it over.
    """

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self._lock = lock
        self._guard = threading.Lock()
        self._writes = open_to_append(path)
        self._reads = open_to_read(path)
        self._size = os.fstat(self._writes).st_size
        self._done = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        return self._done >= self._size

    def append(self, line: bytes) -> None:
        """Add a line, which ends with its only line feed; all of it or nothing.  Raises OSError."""
        with self._guard:
            if os.write(self._writes, line) < len(line):
                os.ftruncate(self._writes, self._size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += len(line)

    def page(self, most: int) -> tuple[list[bytes], int]:
        """So many of the oldest lines at most, and where they end: for `forget`.  Raises OSError.

        What a process wrote that was killed in the middle of a line counts as nothing.
        """
        os.lseek(self._reads, self._done, os.SEEK_SET)
        lines = os.read(self._reads, _PAGE).splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")][:most]
        return whole, self._done + sum(map(len, whole))

    def forget(self, end: int) -> None:
        """The lines up to there are in the database."""
        with self._guard:
            self._done = end
            if end >= self._size:
                os.ftruncate(self._writes, 0)
                self._size = self._done = 0

    def close(self) -> None:
        """Let others have the file; it is removed if nothing is left in it."""
        lines, _ = self.page(1)
        for handle in (self._writes, self._reads):
            os.close(handle)
        self._writes = self._reads = -1  # another file may get the numbers
        if not lines:
            _remove(self.path)
        self._lock.free()


def new_spool(folder: Path) -> Spool:
    """A file for this process.  Raises OSError."""
    make_folder(folder)
    path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_LINES}"
    lock = FileLock(path.with_suffix(_LOCK))
    lock.take()
    return Spool(path, lock)


def left_behind(folder: Path) -> Iterator[Spool]:
    """The files of processes that are gone, which are this process's from now on.  Raises OSError."""
    for path in sorted(folder.glob(f"*{_LINES}")):
        with contextlib.suppress(OSError):  # no files of ours
            if (spool := _taken_over(path)) is not None:
                yield spool


def _taken_over(path: Path) -> Spool | None:
    """None while another has it.  Raises OSError."""
    lock = FileLock(path.with_suffix(_LOCK))
    if not lock.take():
        return None
    try:
        if path.exists():
            return Spool(path, lock)
        _remove(path)  # another has taken it over, and is done with it
    except OSError:
        lock.free()
        raise
    lock.free()
    return None


def count_waiting(folder: Path) -> int:
    """How many lines lie there, of processes that run and of others.  Raises OSError."""
    count = 0
    for path in folder.glob(f"*{_LINES}"):
        with contextlib.suppress(FileNotFoundError), os.fdopen(open_to_read(path), "rb") as file:
            count += sum(1 for _ in file)
    return count


def _remove(path: Path) -> None:
    for each in (path, path.with_suffix(_LOCK)):
        with contextlib.suppress(OSError):
            each.unlink()
