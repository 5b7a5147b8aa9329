"""At which addresses a gateway listens."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.gateway import sockets
from kiro_auth.gateway.sockets import HERE, handed_down, listen

pytestmark = pytest.mark.outside


@contextlib.contextmanager
def listening(hosts: tuple[str, ...], port: int = 0) -> Iterator[list[tuple[str, int]]]:
    found = listen(hosts, port)
    try:
        yield [sock.getsockname()[:2] for sock in found]
    finally:
        for sock in found:
            sock.close()


def test_localhost_is_both_addresses_at_one_port() -> None:
    with listening(HERE) as places:
        (first, port), (second, same) = places
        assert (first, second, same) == (*HERE, port)
        for host in HERE:
            socket.create_connection((host, port)).close()


def test_a_port_that_something_else_has_at_ipv6_is_not_taken() -> None:
    """A client that says localhost would send its key there."""
    with listening(HERE[1:]) as [(_, port)]:
        with pytest.raises(ConfigFailed, match=r"::1 port .* cannot be used: .*--host 127\.0\.0\.1"):
            listen(HERE, port)
        with listening(HERE[:1], port) as places:
            assert places == [(HERE[0], port)]


def test_any_free_port_is_one_that_is_free_at_both(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {HERE[1]: 3}
    bind = sockets._listening

    def busy(host: str, port: int) -> socket.socket:
        if taken.get(host):
            taken[host] -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return bind(host, port)

    monkeypatch.setattr(sockets, "_listening", busy)
    with listening(HERE) as places:
        assert [host for host, _ in places] == list(HERE)
    assert taken == {HERE[1]: 0}


@pytest.mark.parametrize(
    ("missing", "why"),
    [(errno.EAFNOSUPPORT, "no IPv6"), (errno.EADDRNOTAVAIL, "this machine has no such address")],
)
def test_a_machine_without_ipv6_goes_on_with_what_it_has(
    monkeypatch: pytest.MonkeyPatch, missing: int, why: str
) -> None:
    bind = sockets._listening

    def without(host: str, port: int) -> socket.socket:
        if ":" in host:
            raise OSError(missing, "no IPv6")
        return bind(host, port)

    monkeypatch.setattr(sockets, "_listening", without)
    with listening(HERE) as places:
        assert [host for host, _ in places] == [HERE[0]]
    with pytest.raises(ConfigFailed, match=f"::1 port 0 cannot be used: {why}"):
        listen(HERE[1:], 0)


def test_only_a_socket_that_listens_there_is_taken_over() -> None:
    with socket.create_server(("127.0.0.2", 0)) as elsewhere, socket.socket() as idle:
        idle.bind((HERE[0], 0))
        for sock in (elsewhere, idle):
            with pytest.raises(ConfigFailed, match=r"does not listen at 127\.0\.0\.1 or ::1"):
                handed_down([os.dup(sock.fileno())], HERE)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_the_system_is_asked_for_as_many_connections_as_it_gives() -> None:
    program = (
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NOFILE)[1];"
        "r.setrlimit(r.RLIMIT_NOFILE, (200, hard));"
        "from kiro_auth.gateway.sockets import most_connections as most;"
        "print(most(), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    given, limit = map(int, done.stdout.split())

    assert given == limit > 200
