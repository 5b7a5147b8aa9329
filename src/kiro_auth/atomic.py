"""Replace a file as a whole, so that readers and power cuts leave the old one or the new one."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from kiro_auth.regular_files import check_replaceable


def replace_file(path: Path, body: bytes) -> None:
    """Write `body` there, mode 0600; behind a link it is the file that changes.

    Raises OSError and leaves everything as it was.
    """
    path = Path(os.path.realpath(path))
    check_replaceable(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def clear_leftovers(path: Path) -> None:
    """Remove what processes left that were killed while they replaced this file.

    For those alone who exclude all others that replace it.
    """
    path = Path(os.path.realpath(path))
    leftover = re.compile(re.escape(_prefix(path)) + "[a-z0-9_]{8}")  # as tempfile names them
    with suppress(OSError):
        for name in os.listdir(path.parent):
            if leftover.fullmatch(name):
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
