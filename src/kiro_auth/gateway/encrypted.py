"""Doors for clients from elsewhere, whose connections are under TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from typing import Any

from kiro_auth.gateway.certificate import Certificate
from kiro_auth.gateway.doors import Doors
from kiro_auth.gateway.http.connection import Connection
from kiro_auth.gateway.http.server import Server
from kiro_auth.gateway.sockets import OF_NETWORKS
from kiro_auth.kiro.edge.secured import Secured


async def open_outer_doors(server: Server, doors: Doors, certificate: Certificate | None) -> None:
    """Let in who comes from elsewhere, under TLS, or by the Unix socket."""

    def encrypted(connection: Connection) -> asyncio.BaseProtocol:
        assert certificate is not None, "there are such doors only with one"
        return Encrypted(server, connection, certificate.context())

    for sock in doors.outer:
        if sock.family in OF_NETWORKS:
            await server.listen(sock, encrypted)
        else:
            await server.listen(sock)


class Encrypted(Secured):
    """Its `server` keeps the time of the handshake; the `protocol` hears of the connection after it."""

    def __init__(self, server: Server, protocol: asyncio.Protocol, context: ssl.SSLContext) -> None:
        super().__init__(protocol, partial(context.wrap_bio, server_side=True))
        self._server = server
        self._context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's part of the handshake."""
        self._server.knocks(self)
        super().connection_made(transport)

    def close(self) -> None:
        """Close it, when all is written, with the last word that TLS has for that."""
        if self._below.is_closing():
            return
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()
        self._below.close()

    def can_write_eof(self) -> bool:
        """TLS has no end of one direction alone that every client understands."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport below knows, `ssl_object`, and `sslcontext`, by which it is seen to be TLS."""
        return self._context if name == "sslcontext" else super().get_extra_info(name, default)

    def _shake_hands(self) -> bool:
        done = super()._shake_hands()
        if done:
            self._server.entered(self)
        return done

    def _fail(self, error: Exception) -> None:
        self._server.entered(self)
        if isinstance(error, ssl.SSLError):
            self._server.unreadable("it is no TLS handshake, or none that both sides understand")
