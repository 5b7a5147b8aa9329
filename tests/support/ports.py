"""Ports that nobody has, and that the system gives to no connection of its own choice.

A port that the system chose and that was given back may be the near end of another program's connection a
moment later; so may that of a server which is to be started again.  Seconds may pass until something listens
at a port that was chosen, so no two tests may choose the same one: each worker of pytest-xdist has ports of
its own, and gives out none of them twice.
"""

from __future__ import annotations

import os
import random
import socket
from typing import Final

_PORTS: Final = range(10_000, 19_800)
"""Below those of the sign-in page, those that gateways keep, and those that systems choose."""
_given: set[int] = set()


def free_port(in_a_row: int = 1) -> int:
    """One at which this machine can listen: the first of so many."""
    chance, own = random.SystemRandom(), _own()  # as another run of the tests may be under way
    while True:
        first = chance.choice(own[: len(own) - in_a_row + 1])
        row = range(first, first + in_a_row)
        if _given.isdisjoint(row) and all(map(_is_free, row)):
            _given.update(row)
            return first


def _own() -> range:
    """The ports of this worker."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = len(_PORTS) // workers
    return _PORTS[worker * size : (worker + 1) * size]


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
