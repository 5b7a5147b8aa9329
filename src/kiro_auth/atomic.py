"""Replace a file as a whole, so that readers and power cuts leave the old one or the new one."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from kiro_auth.regular_files import check_replaceable

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)  # Windows would change the ends of lines


def replace_file(path: Path, body: bytes, *, lasts: bool = True) -> None:
    """Write `body` there, mode 0600; behind a link it is the file that changes.

    Unless it `lasts`, a power cut may leave neither the old one nor the new one: the disk is not waited for.
    Raises OSError and leaves everything as it was.
    """
    path = Path(os.path.realpath(path))
    check_replaceable(path)
    name = path.with_name(f"{_prefix(path)}{os.urandom(4).hex()}")
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            if lasts:
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    if lasts:
        _sync_folder(path.parent)


def clear_leftovers(path: Path) -> None:
    """Remove what processes left that were killed while they replaced this file.

    For those alone who exclude all others that replace it.
    """
    path = Path(os.path.realpath(path))
    prefix = _prefix(path)
    with suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(prefix) and re.fullmatch("[a-z0-9_]{8}", name[len(prefix) :]):
                path.with_name(name).unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}-"


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced: a new token is the only one."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems refuse
                os.fsync(handle)
        finally:
            os.close(handle)
