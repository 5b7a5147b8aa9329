"""The sockets that a gateway listens at."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Final

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason

HERE: Final = ("127.0.0.1", "::1")
"""What `localhost` means; some clients try only the first address that it has on their machine."""
OF_NETWORKS: Final = (socket.AF_INET, socket.AF_INET6)
BACKLOG: Final = 1024
"""Connections that the system keeps until they are taken, and that are taken one after another."""
_MANY: Final = 8192
_TRIES: Final = 20
"""How many free ports are tried for one that is free at both addresses."""
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets that listen at one port of these addresses; 0 takes any that is free at all of them.

    An address that the machine does not have at all is left out, unless it is the first.  Raises
    ConfigFailed when an address is taken: a client would send its key to whatever listens there.
    """
    for attempt in range(_TRIES):
        try:
            return _at_one_port(hosts, port)
        except _Taken as error:
            if port or attempt + 1 == _TRIES or error.host == hosts[0]:
                raise ConfigFailed(_unusable(error.host, port, error.why)) from error
    raise AssertionError("the last try returns or raises")


def handed_down(descriptors: Sequence[int], hosts: Sequence[str]) -> list[socket.socket]:
    """The sockets that another program of ours holds as well.  Raises ConfigFailed when they are not that.

    No program that is started here gets them.
    """
    return [_handed_down(descriptor, hosts) for descriptor in descriptors]


def most_connections() -> int:
    """How many connections the system lets this process have, in and out; it is asked for more first."""
    if sys.platform == "win32":
        return _MANY
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(hard, _MANY)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    with contextlib.suppress(OSError, ValueError):  # macOS has a limit that it does not tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


class _Taken(Exception):
    def __init__(self, host: str, why: str) -> None:
        self.host = host
        self.why = why


def _at_one_port(hosts: Sequence[str], port: int) -> list[socket.socket]:
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for host in hosts:
            try:
                sock = _listening(host, port)
            except OSError as error:
                if sockets and error.errno in _NO_IPV6:
                    continue
                raise _Taken(host, reason(error)) from error
            sockets.append(opened.enter_context(sock))
            port = sock.getsockname()[1]
        opened.pop_all()
        return sockets


def _listening(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let others listen at the same port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # so have its connections
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _unusable(host: str, port: int, why: str) -> Failure:
    step = "Choose another port with --port, or 0 for any free one."
    if host == HERE[1]:
        step += f" Or listen at IPv4's address alone: --host {HERE[0]}."
    return Failure(code="KA-CONFIG", message=f"{host} port {port} cannot be used: {why}.", next_step=step)


def _handed_down(descriptor: int, hosts: Sequence[str]) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        sock.set_inheritable(False)
        if sock.getsockname()[0] in hosts and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return sock
        sock.close()
        why = f"it does not listen at {' or '.join(hosts)}"
    except OSError as error:
        why = reason(error)
    raise ConfigFailed(Failure(code="KA-CONFIG", message=f"The listener {descriptor} cannot be used: {why}."))
