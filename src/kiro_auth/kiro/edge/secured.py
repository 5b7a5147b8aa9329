"""TLS of either side over any transport, with nothing between a read of the socket and what parses it.

The transports of event loops do the same with a buffer of 256 KB for each connection, and hand a read through
three layers.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

_RECORD: Final = 16 * 1024
"""Bytes that TLS encrypts or gives at once, at most.  More is never handed to OpenSSL, whose buffers do not
shrink: a connection would keep the size of its largest read and write."""


class Secured(asyncio.Protocol, asyncio.Transport):
    """A protocol for the transport below, and a transport for the `protocol` above.

    `wrap` makes the TLS connection, a client's or a server's, of what comes in and goes out.  The protocol
    above hears of its connection when the handshake was good, which `ready` tells.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
    ) -> None:
        super().__init__()
        self._protocol = protocol
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = wrap(self._incoming, self._outgoing)
        self._below: asyncio.Transport
        self._open = False
        self._ended = False  # by the other side, or by damage
        self._broken: Exception | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        """Wait for the handshake.  Raises SSLError and ConnectionError; then the transport is closed."""
        try:
            await self._ready
        except BaseException:
            self._below.abort()
            raise

    # -------------------------------------------------------------------- the side of the transport below

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._below = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """What was read below."""
        if len(data) <= _RECORD:
            read = self._decrypted(data)
        else:
            parts = memoryview(data)
            read = b"".join(
                [self._decrypted(parts[at : at + _RECORD]) for at in range(0, len(data), _RECORD)]
            )
        if self._outgoing.pending:  # TLS has something to say of its own
            self._flush()
        if read:
            self._protocol.data_received(read)
        if self._ended:
            self._below.abort()

    def _decrypted(self, data: bytes | memoryview) -> bytes:
        """What is complete by now."""
        self._incoming.write(data)
        read = b""
        if not (self._open or self._shake_hands()):
            return read
        wanted = len(data)  # most often it is one record, which only gets shorter
        try:
            while True:
                piece = self._tls.read(wanted)
                read += piece
                if not piece:
                    self._ended = True
                    return read
                if len(piece) < wanted and not self._incoming.pending:
                    return read
                wanted = _RECORD
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._broken, self._ended = error, True
        return read

    def pause_writing(self) -> None:
        """It takes no more for now."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It takes more."""
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if self._open:
            self._protocol.connection_lost(self._broken or error)
        else:
            self._fail(error or ConnectionResetError("it ended before it was secured"))

    # --------------------------------------------------------------------- the side of the protocol above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another one goes on with it."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send it."""
        if self._below.is_closing():
            return
        for at in range(0, len(data), _RECORD):
            self._tls.write(data[at : at + _RECORD])
            self._flush()

    def abort(self) -> None:
        """Close it at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Whether it is at its end."""
        return self._below.is_closing()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._below.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """How much may wait to be sent, encrypted, before `pause_writing`."""
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """How much waits to be sent, encrypted."""
        return self._below.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport below knows, and `ssl_object`."""
        return self._tls if name == "ssl_object" else self._below.get_extra_info(name, default)

    # ----------------------------------------------------------------------------------------- the parts

    def _shake_hands(self) -> bool:
        """Whether that is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._flush()  # says why
            self._below.close()
            self._fail(error)
            return False
        self._flush()
        if self._ready.done():  # nobody waits any more
            self._below.abort()
            return False
        self._open = True
        self._protocol.connection_made(self)
        self._ready.set_result(None)
        return True

    def _fail(self, error: Exception) -> None:
        if not self._ready.done():
            self._ready.set_exception(error)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())
