"""How files and folders of this user are opened: never what is none, never more than is sensible.

Where a file is expected anything may lie: a named pipe, on which a reader waits for ever, a device without an
end, another user's file.  Each becomes an OSError here, whose words name it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file that is read whole; 10,000 accounts are 40 MB."""
_ROOT: Final = 0
_CHUNK: Final = 1024 * 1024
# Without O_NONBLOCK an open named pipe waits for somebody at its other end; files do not mind it.
_WITHOUT_WAITING: Final = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
)


class Unusable(OSError):
    """What lies at a path is not what may be used there; `strerror` says it in words."""

    def __init__(self, path: Path, words: str) -> None:
        super().__init__(None, words, str(path))


def read_file(path: Path, largest: int = LARGEST) -> bytes:
    """What a file holds, which may lie behind links.  Raises OSError: Unusable for what is no such file."""
    with os.fdopen(open_to_read(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        body = file.read(min(size, largest) + 1)
        while len(body) <= largest and (more := file.read(_CHUNK)):  # it grew meanwhile
            body += more
    if len(body) > largest:
        raise Unusable(path, f"it holds more than {largest // 1024 // 1024} MB")
    return body


def open_to_read(path: Path) -> int:
    """A descriptor of a file, which may lie behind links, for who reads a part of it.  Raises OSError."""
    return _opened(path, os.O_RDONLY)


def open_to_append(path: Path) -> int:
    """A descriptor to write at the end of a file, made with mode 0600 if it is not there.

    Unlike `read_file` it follows no link at the end of the path: what is written goes there or nowhere.
    Raises OSError.
    """
    return _opened_to_write(path, os.O_WRONLY | os.O_APPEND)


def open_to_change(path: Path) -> int:
    """As `open_to_append`, to read and to write anywhere in the file."""
    return _opened_to_write(path, os.O_RDWR)


def check_replaceable(path: Path) -> None:
    """Raise Unusable when something lies there that is no file, which a rename would replace all the same."""
    try:
        status = path.lstat()
    except OSError:
        return  # what hinders the writing says so itself
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(path, f"it is {_kind(status)} and not a file")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone.  Raises OSError."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise Unusable(folder, "it is not a folder")


_KINDS: Final = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
)


def _kind(status: os.stat_result) -> str:
    return next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "something else")


def _opened_to_write(path: Path, flags: int) -> int:
    if path.is_symlink():
        raise Unusable(path, "it is a link")
    return _opened(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0))


def _opened(path: Path, flags: int) -> int:
    handle = os.open(path, flags | _WITHOUT_WAITING, 0o600)
    try:
        _check(path, handle)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check(path: Path, handle: int) -> None:
    """Raise Unusable unless it is a file of this user, or of root.

    Package managers such as Nix own the files that they link into a home, and root may change any.  To root,
    as in a container that is given a folder of its host, all files are its own.
    """
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(path, f"it is {_kind(status)} and not a file")
    if hasattr(os, "geteuid") and os.geteuid() not in (status.st_uid, _ROOT) and status.st_uid != _ROOT:
        raise Unusable(path, "it belongs to another user")
