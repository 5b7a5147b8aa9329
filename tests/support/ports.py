"""Ports that nobody has, and that the system gives to no connection of its own choice.

A port that the system chose and that was given back may be the near end of another program's connection a
moment later; so may that of a server which is to be started again.

One that was given here stays with this process of the tests until that ends, whether or not something listens
there: processes that run at the same time would else choose the same one, about once in some hundred runs.
"""

from __future__ import annotations

import fcntl
import functools
import os
import secrets
import socket
import tempfile
from pathlib import Path
from typing import BinaryIO, Final

_PORTS: Final = range(10_000, 19_800)
"""Below those of the sign-in page, those that gateways keep, and those that systems choose."""
_GIVEN: Final[set[int]] = set()


def free_port(in_a_row: int = 1) -> int:
    """One at which this machine can listen: the first of so many."""
    while True:
        first = secrets.choice(_PORTS)
        if all(map(_is_ours, range(first, first + in_a_row))):
            return first


def _is_ours(port: int) -> bool:
    """Whether nobody has the port, and from now on no other caller is given it."""
    if port in _GIVEN:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _GIVEN.add(port)
    return _is_free(port)


@functools.cache
def _locks() -> BinaryIO:
    """A file with a byte for each port, which is locked while a process has it."""
    return (Path(tempfile.gettempdir()) / f"kiro-auth-tests-{os.getuid()}.ports").open("wb")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
