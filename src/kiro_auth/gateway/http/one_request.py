"""A connection that the library answers on: it gets the bytes of the one request that was let in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from kiro_auth.gateway.http.head import Head, Unreadable
from kiro_auth.gateway.http.incoming import Incoming


class OneRequest(asyncio.Protocol):
    """Stands before `handler`, which reads a request with this head, and keeps all that follows from it.

    `on_lost` hears when the client is gone.
    """

    __slots__ = ("_body", "_handler", "_on_lost", "_transport")

    def __init__(self, handler: asyncio.Protocol, head: Head, on_lost: Callable[[], None]) -> None:
        self._handler = handler
        self._on_lost = on_lost
        self._body = Incoming(head, sys.maxsize, wanted=False)

    def begin(self, transport: asyncio.Transport, data: bytes, size: int) -> None:
        """Go on with a connection that brought these bytes, so many of which are the head."""
        self._transport = transport
        transport.set_protocol(self)
        self._handler.connection_made(transport)
        self._handler.data_received(data[:size])
        self.data_received(data[size:])

    def data_received(self, data: bytes) -> None:
        """What one read brought."""
        if self._body.complete or not data:
            return
        try:
            behind = self._body.feed(data)
        except Unreadable:
            self._transport.abort()
            return
        if self._body.behind:  # where that begins is not known
            self._transport.abort()
            return
        self._handler.data_received(data[: len(data) - len(behind)])

    def eof_received(self) -> bool | None:
        """The client says no more."""
        return self._handler.eof_received()

    def pause_writing(self) -> None:
        """The client takes less than was written."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """The client takes again."""
        self._handler.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self._on_lost()
        self._handler.connection_lost(error)
