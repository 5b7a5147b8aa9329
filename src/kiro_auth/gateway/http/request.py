"""A request as its handler sees it, and the stream that may be its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from kiro_auth.gateway.http import response
from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.incoming import Incoming, TooLarge

if TYPE_CHECKING:
    from kiro_auth.gateway.http.site import Admission


class Client(Protocol):
    """The connection to a client, as an answer needs it."""

    writable: bool
    """Whether the client takes what is written."""
    on_writable: Callable[[bool], None] | None
    """Hears when that changes."""
    stays: bool
    """Whether another request may follow; an answer may decide that none does."""

    @property
    def transport(self) -> asyncio.WriteTransport:
        """What is written to."""


class Request:
    """One request that was let in, of `caller`; `id` is its name.

    `more` are lines for the head of its answer; `is_use` says whether it keeps the gateway alive.
    """

    __slots__ = (
        *("_arrived", "_begun", "_body", "_broken", "_client", "_limit"),
        *("caller", "head", "id", "is_use", "more"),
    )

    def __init__(self, head: Head, admission: Admission, client: Client, *, limit: int = 0) -> None:
        self.head = head
        self.caller = admission.caller
        self.id = admission.request_id
        self.more = admission.more
        self.is_use = admission.is_use
        self._client = client
        self._limit = limit
        self._body: Incoming | None = None
        self._broken: Exception | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._begun = False

    @property
    def path(self) -> str:
        """What is asked for, decoded."""
        return self.head.path

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case; see `Head`."""
        return self.head.headers

    @property
    def query(self) -> Mapping[str, Sequence[str]]:
        """What stands behind the path's question mark, decoded."""
        return parse_qs(self.head.query, keep_blank_values=True)

    @property
    def begun(self) -> bool:
        """Whether a stream has begun to answer it."""
        return self._begun

    async def body(self) -> bytes:
        """The body, once: it is kept nowhere else then.  Raises Unreadable, TooLarge."""
        if self.head.length > self._limit:
            raise TooLarge
        body = self._body
        if body is None:
            return b""
        if not body.complete and self._broken is None:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self._broken is not None:
            raise self._broken
        self._body = None
        return body.taken()

    def stream(self, headers: Mapping[str, str]) -> Stream:
        """Begin an answer of which nobody knows how long it will be.  Raises ValueError for odd headers."""
        stream = Stream(self, self._client, headers)
        self._begun = True
        return stream

    # ------------------------------------------------------------------------- the connection's side

    def comes(self, body: Incoming) -> None:
        """That is its body, which is complete or on its way."""
        self._body = body

    def arrived(self, broken: Exception | None = None) -> None:
        """The body is complete, or will never be."""
        self._broken = broken
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


class Stream:
    """An answer that is written piece by piece; its head goes out with the first of them."""

    __slots__ = ("_chunked", "_head", "client", "transport")

    def __init__(self, request: Request, client: Client, headers: Mapping[str, str]) -> None:
        self.client = client
        self.transport = client.transport
        self._chunked = request.head.minor > 0
        more = request.more
        if self._chunked:
            more += response.CHUNKED
        else:
            client.stays = False  # its end is the end of the connection
        if not client.stays:
            more += response.CLOSES
        self._head = response.head(200, headers, more)

    def write(self, data: bytes) -> None:
        """Write a piece, unless the client has left."""
        if not data or self.transport.is_closing():
            return
        if self._chunked:
            data = response.CHUNK % (len(data), data)
        if self._head:
            data, self._head = self._head + data, b""
        self.transport.write(data)

    def end(self, data: bytes) -> None:
        """Write the last piece, and that it is all."""
        if self.transport.is_closing():
            return
        if self._chunked:
            data = (response.CHUNK % (len(data), data) if data else b"") + response.LAST_CHUNK
        self.transport.write(self._head + data)
