"""Which certificates are trusted: the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""

from __future__ import annotations

import asyncio
import ssl
import sys


class Trust:
    """One TLS context for all connections to services.

    Reading the certificates takes a tenth of a second on many machines, so it waits for the first connection,
    and is done by a thread: whoever connects awaits `ready` before.
    """

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it checks host names and chains
        if sys.version_info >= (3, 13):  # as `ssl.create_default_context` does from then on
            self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
        self.context.set_alpn_protocols(["http/1.1"])
        self._reading: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Have the certificates read, once."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(self.context.load_default_certs))
        await asyncio.shield(self._reading)  # a client that leaves must not end what others wait for
