"""What is at the addresses: which requests are let in, and what answers them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from msgspec import Struct

from kiro_auth.events import Caller
from kiro_auth.failures import Failure
from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response

AtOnce: TypeAlias = Callable[[Request], Response]
"""Answers without waiting for anything, and reads no body."""
Waiting: TypeAlias = Callable[[Request], Awaitable[Response | None]]
"""Answers when it can; with nothing when it wrote a stream."""


class Route(Struct, frozen=True):
    """What answers a request, by either way, and how many bytes of a body it reads.

    Both raise KiroAuthError.  `for_clients`: also for who holds a client key, not the gateway's owner alone.
    `is_prelude`: its answer is for the request that follows on the same connection.
    """

    at_once: AtOnce | None = None
    waiting: Waiting | None = None
    limit: int = 0
    for_clients: bool = False
    is_prelude: bool = False


class Refusal(Struct, frozen=True):
    """The answer to a request that goes no further.  `more` are lines for its head."""

    response: Response
    more: str = ""


class Admission(Struct, frozen=True):
    """A request that is let in: who sends it, and what answers it; the library, where `route` is None.

    `keyed`: it came with a key.  `more` are lines for the head of its answer, `request_id` among them.
    `is_use`: it keeps the gateway alive.  `secured`: the client speaks TLS, as a proxy says that is believed.
    """

    caller: Caller
    route: Route | None
    keyed: bool
    request_id: str
    more: str = ""
    is_use: bool = True
    secured: bool = False


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end; nothing for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def origin_of(address: str) -> str:
    """What tells clients of one address from others: of IPv6 its /64, as one machine may have all of that."""
    if ":" not in address or address.startswith("::ffff:"):  # IPv4, as a socket for both has it
        return address
    return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])[:8].hex(":", 2)


class Site(Protocol):
    """See the module."""

    def admit(self, head: Head, transport: asyncio.BaseTransport) -> Admission | Refusal:
        """What becomes of the request with this head, which came from there."""

    def limits(self, address: str) -> bool:
        """Whether connections from this address without a key are to be few."""

    def failed(self, path: str, failure: Failure, status: int | None = None) -> Response:
        """A failure in the shape of the API that the path is of; `status`: another than it has there."""

    def begin(self) -> None:
        """A request that is use of the gateway is under way."""

    def end(self) -> None:
        """It no longer is."""
