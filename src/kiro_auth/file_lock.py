"""A lock between processes: a file that the operating system locks for the process that asks first.

It frees the lock of a process that dies, however that dies.  The library filelock knows Windows, and file
systems that cannot lock, but it takes a sixth of a gateway's start to import, so it is asked for those alone;
elsewhere this is what it does, and each of the two excludes the other.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiro_auth.regular_files import open_to_change

if TYPE_CHECKING:
    import filelock

try:
    import fcntl
except ImportError:  # Windows
    _KNOWS_FLOCK = False
else:
    _KNOWS_FLOCK = True

_HELD: Final = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
_CANNOT: Final = (errno.ENOSYS, errno.EOPNOTSUPP)


class FileLock:
    """The lock of one file, which is made with mode 0600.  Not to be used by two threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._library: filelock.BaseFileLock | None = None

    @property
    def is_held(self) -> bool:
        """Whether it is held here."""
        return self._handle is not None or (self._library is not None and self._library.is_locked)

    def take(self, seconds: float = 0.0, look: float = 0.05) -> bool:
        """Whether it is held now, tried for so many seconds, every `look` seconds.  Raises OSError."""
        end = time.monotonic() + seconds
        while not self._try():
            if time.monotonic() >= end:
                return False
            time.sleep(look)
        return True

    def free(self) -> None:
        """Let others have it; nothing happens if it is not held."""
        if self._library is not None:
            self._library.release()
        elif self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def _try(self) -> bool:
        if self.is_held:
            return True
        if not _KNOWS_FLOCK:
            return self._try_library()
        handle = open_to_change(self._path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(handle).st_nlink:  # else it was removed meanwhile, and excludes nobody
                self._handle, handle = handle, -1
        except OSError as error:
            if error.errno in _CANNOT:
                return self._try_library()
            if error.errno not in _HELD:
                raise
        finally:
            if handle >= 0:
                os.close(handle)
        return self._handle is not None

    def _try_library(self) -> bool:
        import filelock

        if self._library is None:
            self._library = filelock.FileLock(self._path, mode=0o600, thread_local=False)
        try:
            self._library.acquire(timeout=0)
        except filelock.Timeout:
            return False
        return True
