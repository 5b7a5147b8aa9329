"""How a connection to a service comes about: name, address, proxy, TLS, each with its own failure."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

import aiohappyeyeballs
from msgspec import Struct

from kiro_auth.kiro.edge.answer import Fault, LineFailed
from kiro_auth.kiro.edge.trust import Trust

P = TypeVar("P", bound=asyncio.Protocol)

_PORTS: Final = {"http": 80, "https": 443}
_NEXT_ADDRESS: Final = 0.25
"""Seconds until the next address of a host is tried beside: RFC 8305."""
_MOST_OF_PROXY: Final = 16 * 1024


class Place(Struct, frozen=True):
    """Where a connection leads; `proxy` is the URL of the one it goes through."""

    scheme: str
    host: str
    port: int
    proxy: str | None = None

    @property
    def authority(self) -> str:
        """As it stands in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def asks_proxy(self) -> bool:
        """Whether it is the proxy that is asked: what is encrypted only passes through it."""
        return self.proxy is not None and self.scheme == "http"


@lru_cache(maxsize=64)
def place_of(url: str, proxy: str | None) -> tuple[Place, str]:
    """Where a URL leads, and the path there.  Raises LineFailed."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError) as error:
        raise LineFailed("address") from error
    if not parts.hostname:
        raise LineFailed("address")
    path = parts.path or "/"
    return Place(parts.scheme, parts.hostname, port, proxy), f"{path}?{parts.query}" if parts.query else path


def authorization(proxy: str) -> str | None:
    """What a proxy with a user name and a password in its URL wants to see."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(words.encode()).decode()}"


async def connected(make: Callable[[], P], place: Place, trust: Trust) -> P:
    """A connection to the place, with the protocol that `make` makes.  Raises LineFailed, TimeoutError."""
    tls = trust if place.scheme == "https" else None
    if place.proxy is None:
        return await _to(make, place.host, place.port, tls, "refused")
    try:
        proxy, _ = place_of(place.proxy, None)
    except LineFailed as error:
        raise LineFailed("proxy gone") from error
    proxy_tls = trust if proxy.scheme == "https" else None
    if tls is None:
        return await _to(make, proxy.host, proxy.port, proxy_tls, "proxy gone")
    tunnel = await _to(_Tunnel, proxy.host, proxy.port, proxy_tls, "proxy gone")
    try:
        await tunnel.lead_to(place)
        protocol = make()
        secured = trust.secured(protocol, place.host)
        tunnel.transport.set_protocol(secured)
        secured.connection_made(tunnel.transport)
        with _failing_as("refused"):
            await secured.ready()
    except BaseException:
        tunnel.transport.abort()
        raise
    return protocol


async def _to(make: Callable[[], P], host: str, port: int, tls: Trust | None, fault: Fault) -> P:
    loop = asyncio.get_running_loop()
    with _failing_as(fault):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        reached = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1
        )
        protocol = make()
        secured = None if tls is None else tls.secured(protocol, host)
        # From here on the loop closes it, whatever happens: to close it as well could hit another connection.
        await loop.create_connection(lambda: secured or protocol, sock=reached)
        if secured is not None:
            await secured.ready()
    return protocol


@contextlib.contextmanager
def _failing_as(fault: Fault) -> Iterator[None]:
    """What the operating system and TLS raise, as LineFailed: this fault, if none is more exact."""
    try:
        yield
    except TimeoutError:
        raise
    except (socket.gaierror, UnicodeError) as error:
        raise LineFailed("name" if fault == "refused" else fault) from error
    except ssl.SSLCertVerificationError as error:
        raise LineFailed("certificate") from error
    except ssl.SSLError as error:
        raise LineFailed("tls") from error
    except OSError as error:
        raise LineFailed(fault) from error


class _Tunnel(asyncio.Protocol):
    """A connection to a proxy, until it leads further."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._read = b""
        self._head = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._head.done() and (b"\r\n\r\n" in self._read or len(self._read) > _MOST_OF_PROXY):
            self._head.set_result(self._read)

    def connection_lost(self, _: Exception | None) -> None:
        if not self._head.done():
            self._head.set_result(self._read)

    async def lead_to(self, place: Place) -> None:
        """Have the proxy connect.  Raises LineFailed when it does not."""
        target = f"[{place.host}]:{place.port}" if ":" in place.host else f"{place.host}:{place.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if words := authorization(place.proxy or ""):
            lines.append(f"Proxy-Authorization: {words}")
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        first, _, _ = (await self._head).partition(b"\r\n")
        version, _, status = first.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status.startswith(b"2"):
            raise LineFailed("proxy refuses")
