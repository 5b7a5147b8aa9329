"""Whose program listens at an address of this machine, or calls from it.  Linux alone says, in `/proc/net`.

Format: Documentation/networking/proc_net_tcp.rst of the kernel.  The sockets that listen come first.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from msgspec import Struct

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = "0A"
_LINE: Final = 150
"""Bytes of a line.  No more is read at a time: to go on behind the sockets that listen, the kernel walks
through its table of all connections, which takes milliseconds."""

_LOOK_SECONDS: Final = 0.5
"""How long a connection is waited for, which anything on this machine takes at once."""

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


class Listening(Struct, frozen=True):
    """One socket that takes connections; an IPv4 address inside an IPv6 one is told as IPv4."""

    address: Ip
    port: int
    uid: int


class Occupant(Struct, frozen=True):
    """What listens at a port; `uid` is its user where the system says that."""

    uid: int | None

    @property
    def is_stranger(self) -> bool:
        """Whether it may be another user's."""
        return not is_of_this_user(self.uid)

    @property
    def words(self) -> str:
        """It in a sentence."""
        return whose(self.uid)


def occupant(hosts: Sequence[str], port: int) -> Occupant | None:
    """What listens at this port of these addresses, a stranger before the user's own; None: nothing does."""
    uids = [uid for host in hosts if (uid := owner(host, port)) is not None]
    if uids:
        return Occupant(next((uid for uid in uids if not is_of_this_user(uid)), uids[0]))
    return Occupant(None) if any(_is_taken(host, port) for host in hosts) else None


def _is_taken(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _LOOK_SECONDS).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def is_of_this_user(uid: int | None) -> bool:
    """Whether it is known that a listener is a program of this user."""
    return sys.platform != "win32" and uid == os.geteuid()


def whose(uid: int | None) -> str:
    """A listener in a sentence, by its user."""
    if uid is None or sys.platform == "win32":
        return "another program"
    if is_of_this_user(uid):
        return "another program of yours"
    import pwd

    try:
        return f"a program of the user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"a program of another user (uid {uid})"


def owner(host: str, port: int) -> int | None:
    """The user id of what takes connections at an address; None where that is nobody, or cannot be told."""
    if sys.platform != "linux":
        return None
    return owner_among(chain.from_iterable(parse(_lines(table)) for table in TABLES), host, port)


def caller(client: object, server: object) -> int | None:
    """The user id of the program at the client's end of a connection; None where that cannot be told.

    Both ends are named as a socket names them: the program is on another machine, or in a container with a
    network of its own, if the kernel has no such socket.  Reads the table of all connections, which may take
    milliseconds.
    """
    pairs = _pairs(client, server) if sys.platform == "linux" else []
    for table in TABLES if pairs else ():
        try:
            lines = table.read_bytes().splitlines()
        except OSError:  # no IPv6, or no /proc at all
            continue
        for line in lines:
            if any(pair in line for pair in pairs):
                return int(line.split()[7])
    return None


def _pairs(client: object, server: object) -> list[bytes]:
    """A connection from here to there as the kernel prints it, of a socket of either family."""
    match client, server:
        case (str(host), int(port), *_), (str(here), int(own), *_):
            far, near = _ip(host), _ip(here)
        case _:  # a Unix socket
            return []
    return [
        f"{there}:{port:04X} {at}:{own:04X}".encode()
        for there, at in zip(_spellings(far), _spellings(near), strict=False)
    ]


def _ip(host: str) -> Ip:
    address = ipaddress.ip_address(host)
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def _spellings(address: Ip) -> list[str]:
    """An address as sockets of its own family have it, and of IPv4 as those of IPv6."""
    packed = [address.packed]
    if address.version == 4:
        packed.append(b"\0" * 10 + b"\xff\xff" + address.packed)
    return ["".join(word.hex().upper() for word in _words(digits, sys.byteorder)) for digits in packed]


def _words(packed: bytes, byte_order: str) -> list[bytes]:
    """The words of 32 bits that an address is made of, each turned round where the machine has them so."""
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return [word[::-1] if byte_order == "little" else word for word in words]


def _lines(table: Path) -> Iterator[str]:
    try:
        with table.open("rb", buffering=_LINE) as lines:
            for line in lines:
                yield line.decode()
    except OSError:  # no IPv6, or no /proc at all
        return


def owner_among(listening: Iterable[Listening], host: str, port: int) -> int | None:
    """The user id of the socket that the kernel would choose.

    One that names the address goes before one that takes every address, and IPv4's own before IPv6's.
    """
    try:
        wanted = ipaddress.ip_address(host)
    except ValueError:
        return None
    every = [ipaddress.ip_address("::")]
    if wanted.version == 4:
        every.insert(0, ipaddress.ip_address("0.0.0.0"))
    at: dict[Ip, int] = {}
    for row in listening:
        if row.port == port:
            at[row.address] = row.uid
            if row.address == wanted:
                break
    return next((at[address] for address in (wanted, *every) if address in at), None)


def parse(lines: Iterable[str], byte_order: str = sys.byteorder) -> Iterator[Listening]:
    """The sockets that listen, of one table; what is no line of it is passed over."""
    for line in lines:
        fields = line.split()
        if len(fields) < 8 or ":" not in fields[1]:
            continue
        if fields[3] != _LISTEN:
            return
        address, _, port = fields[1].partition(":")
        try:
            yield Listening(_address(address, byte_order), int(port, 16), int(fields[7]))
        except ValueError:
            continue


def _address(digits: str, byte_order: str) -> Ip:
    """An address as the kernel prints it: words of 32 bits in the machine's own byte order."""
    address = ipaddress.ip_address(b"".join(_words(bytes.fromhex(digits), byte_order)))
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
