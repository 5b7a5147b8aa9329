"""Which certificates are trusted: the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""

from __future__ import annotations

import asyncio
import ssl
import sys
from functools import partial

from kiro_auth.kiro.edge.secured import Secured


class Trust:
    """One TLS context for all connections to services.

    Reading the certificates takes a tenth of a second on many machines, so it waits for the first connection,
    and is done by a thread: whoever connects awaits `ready` before.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it checks host names and chains
        if sys.version_info >= (3, 13):  # as `ssl.create_default_context` does from then on
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        self.context.options |= ssl.OP_NO_RENEGOTIATION  # a write would have to wait for it
        self.context.set_alpn_protocols(["http/1.1"])
        self._sessions: dict[str, ssl.SSLSession] = {}
        self._reading: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have the certificates read, once: a connection is going to need them."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(self.context.load_default_certs))

    async def ready(self) -> None:
        """Wait until they are read."""
        self.begin()
        assert self._reading is not None, "it has begun"
        await asyncio.shield(self._reading)  # a client that leaves must not end what others wait for

    def secured(self, protocol: asyncio.Protocol, host: str) -> Secured:
        """TLS for a connection to the host, which goes on with the last session that it gave."""
        session = self._sessions.get(host)
        wrap = partial(self.context.wrap_bio, server_hostname=host, session=session)
        return Secured(protocol, wrap)

    def remember(self, transport: asyncio.BaseTransport) -> None:
        """Keep the TLS session of a connection, if it has one, for the next one to the same host.

        That is the host whose certificate was checked: what goes on with a session is not checked again.
        """
        secured = transport.get_extra_info("ssl_object")
        session = None if secured is None else secured.session
        if session is not None and session.has_ticket:
            self._sessions[secured.server_hostname] = session
