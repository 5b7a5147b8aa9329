"""Whose socket it is, read from the kernel's own tables."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path

import pytest

from kiro_auth import socket_owners
from kiro_auth.socket_owners import Listening, caller, owner, owner_among, parse
from support.stranger import other_user, stranger

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "00000000:00000000 00:00000000 00000000"
V4 = f"   0: 0100007F:0FA0 00000000:0000 0A {REST}  1000        0 12345 1 0000000000000000 100 0 0 10 0\n"
V4_OPEN = (
    f"   1: 0100007F:0FA0 0100007F:C350 01 {REST}     0        0 12346 1 0000000000000000 20 4 30 10 -1\n"
)
V4_EVERY = (
    f"   2: 00000000:0016 00000000:0000 0A {REST}     0        0 12347 1 0000000000000000 100 0 0 10 0\n"
)
V6 = f"   0: 00000000000000000000000001000000:0FA1 00000000000000000000000000000000:0000 0A {REST} 1001 0 9\n"
V6_EVERY = (
    f"   1: 00000000000000000000000000000000:0FA2 00000000000000000000000000000000:0000 0A {REST} 5 0 9\n"
)
MAPPED = (
    f"   2: 0000000000000000FFFF00000100007F:0FA3 00000000000000000000000000000000:0000 0A {REST} 6 0 9\n"
)


def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)


@pytest.mark.parametrize(
    ("line", "listening"),
    [
        (V4, Listening(ip("127.0.0.1"), 4000, 1000)),
        (V4_EVERY, Listening(ip("0.0.0.0"), 22, 0)),
        (V6, Listening(ip("::1"), 4001, 1001)),
        (V6_EVERY, Listening(ip("::"), 4002, 5)),
        (MAPPED, Listening(ip("127.0.0.1"), 4003, 6)),
    ],
    ids=["IPv4", "every IPv4", "IPv6", "every IPv6", "IPv4 in IPv6"],
)
def test_a_line_is_read_as_the_kernel_writes_it(line: str, listening: Listening) -> None:
    assert list(parse([HEAD, line], "little")) == [listening]


def test_a_machine_with_the_other_byte_order_writes_words_the_other_way() -> None:
    (found,) = parse([HEAD, V4.replace("0100007F", "7F000001")], "big")

    assert found == Listening(ip("127.0.0.1"), 4000, 1000)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "   0: 0100007F\n",
        V4.replace("0100007F:0FA0", "xyz:0FA0"),
        V4.replace("1000", "me"),
    ],
    ids=["nothing", "empty", "cut", "no address", "no user"],
)
def test_what_is_no_listening_socket_is_passed_over(line: str) -> None:
    assert list(parse([HEAD, line, V4_EVERY], "little")) == [Listening(ip("0.0.0.0"), 22, 0)]


def test_behind_the_first_connection_nothing_is_read() -> None:
    """What follows is the table of all connections, which may be long."""
    lines = iter([HEAD, V4, V4_OPEN, V4_EVERY])

    assert list(parse(lines, "little")) == [Listening(ip("127.0.0.1"), 4000, 1000)]
    assert list(lines) == [V4_EVERY]


@pytest.mark.parametrize(
    ("rows", "host", "uid"),
    [
        ([("127.0.0.1", 4000, 7)], "127.0.0.1", 7),
        ([("0.0.0.0", 4000, 7)], "127.0.0.1", 7),
        ([("::", 4000, 7)], "127.0.0.1", 7),
        ([("::", 4000, 7)], "::1", 7),
        ([("127.0.0.1", 4000, 7), ("::", 4000, 8)], "127.0.0.1", 7),
        ([("::", 4000, 8), ("0.0.0.0", 4000, 7)], "127.0.0.1", 7),
        ([("0.0.0.0", 4000, 7)], "::1", None),
        ([("127.0.0.2", 4000, 7)], "127.0.0.1", None),
        ([("127.0.0.1", 4001, 7)], "127.0.0.1", None),
        ([("127.0.0.1", 4000, 7)], "a-name", None),
        ([], "127.0.0.1", None),
    ],
    ids=str,
)
def test_the_socket_that_the_kernel_would_choose_counts(
    rows: list[tuple[str, int, int]], host: str, uid: int | None
) -> None:
    """Somebody who listens at every address of IPv6 as well takes nothing away from us."""
    listening = [Listening(ip(address), port, user) for address, port, user in rows]

    assert owner_among(listening, host, 4000) == uid


@LINUX
@pytest.mark.outside
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_our_own_socket_is_found_in_the_tables_of_this_machine(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        if os.environ.get("CI") and family == socket.AF_INET:
            raise
        pytest.skip("this machine has no IPv6")
    with listener:
        port = listener.getsockname()[1]
        assert owner(host, port) == os.geteuid()
    assert owner(host, port) is None


@LINUX
@pytest.mark.outside
@pytest.mark.parametrize(
    ("listens", "calls"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::1")],
    ids=["IPv4", "IPv6", "IPv4 at a socket of IPv6", "IPv6 at every address"],
)
def test_the_caller_at_the_other_end_of_a_connection_is_found(listens: str, calls: str) -> None:
    family = socket.AF_INET6 if ":" in listens else socket.AF_INET
    try:
        listener = socket.create_server((listens, 0), family=family, dualstack_ipv6=listens == "::")
    except (OSError, ValueError):
        if os.environ.get("CI") and family == socket.AF_INET:
            raise
        pytest.skip("this machine has no IPv6")
    with listener, socket.create_connection((calls, listener.getsockname()[1])):
        taken, there = listener.accept()
        with taken:
            assert caller(there, taken.getsockname()) == os.geteuid()
            elsewhere = (there[0], listener.getsockname()[1], *there[2:])
            assert caller(elsewhere, taken.getsockname()) is None


@LINUX
@pytest.mark.outside
def test_the_caller_of_another_user_is_told_from_us() -> None:
    user = other_user()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with (
            stranger(manner=f"relay:{port}", user=user) as there,
            socket.create_connection(("127.0.0.1", there.port)) as client,
        ):
            client.sendall(b"a word")
            taken, peer = listener.accept()
            with taken:
                assert caller(peer, taken.getsockname()) == user


@pytest.mark.parametrize(
    ("client", "server"),
    [("", "/run/kiro.sock"), (None, None), (("127.0.0.1", 1), ""), (("127.0.0.1", 1), ("::1", 1))],
    ids=["a Unix socket", "no connection", "no address", "two families"],
)
def test_of_what_is_no_connection_over_tcp_nobody_is_the_caller(client: object, server: object) -> None:
    assert caller(client, server) is None


@LINUX
@pytest.mark.outside
def test_where_the_tables_cannot_be_read_nobody_is_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_owners, "TABLES", (tmp_path / "none",))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        assert caller(client.getsockname(), client.getpeername()) is None
