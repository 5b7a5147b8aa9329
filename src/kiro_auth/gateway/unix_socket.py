"""A Unix socket to listen at, for this user alone; it replaces nothing but one that was left behind."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Final

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.sockets import BACKLOG
from kiro_auth.os_errors import reason

_LOOK_SECONDS: Final = 1.0


def listen_unix(path: Path) -> socket.socket:
    """A socket that listens there, with mode 0600.  Raises ConfigFailed."""
    if sys.platform == "win32":
        raise _unusable(path, "this system has none")
    _check_folder(path)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _unusable(path, reason(error)) from error
    finally:
        os.umask(before)
    return sock


def _check_folder(path: Path) -> None:
    """In a folder of others they could put another socket in its place, and get keys and prompts."""
    try:
        status = path.parent.stat()
    except OSError as error:
        raise _unusable(path, reason(error)) from error
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(path, f"others may write into {path.parent}")


def _remove_stale(path: Path) -> None:
    """Remove a socket of this user on which nobody answers; anything else stays, and is told."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, reason(error)) from error
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise _unusable(path, "something else is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        trying.settimeout(_LOOK_SECONDS)
        try:
            trying.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(path, reason(error)) from error
        else:
            raise _unusable(path, "another program listens there")


def _unusable(path: Path, why: str) -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"The Unix socket {path} cannot be used: {why}.",
            next_step="Name another path with --unix, in a folder that only you may write into.",
        )
    )
