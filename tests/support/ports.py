"""Ports that nobody has, and that the system gives to no connection of its own choice.

A port that the system chose and that was given back may be the near end of another program's connection a
moment later; so may that of a server which is to be started again.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final

_PORTS: Final = range(10_000, 20_000)
"""Below those that systems choose (from 32,768 or 49,152), and below those that gateways keep."""


def free_port() -> int:
    """One at which this machine can listen."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
