"""Ports that nobody has, and that the system gives to no connection of its own choice.

A port that the system chose and that was given back may be the near end of another program's connection a
moment later; so may that of a server which is to be started again.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final

_PORTS: Final = range(10_000, 19_800)
"""Below those of the sign-in page, those that gateways keep, and those that systems choose."""


def free_port(in_a_row: int = 1) -> int:
    """One at which this machine can listen: the first of so many."""
    while True:
        first = secrets.choice(_PORTS)
        if all(map(_is_free, range(first, first + in_a_row))):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
