"""TLS of either side over any transport, with nothing between a read of the socket and what parses it.

The transports of event loops do the same with a buffer of 256 KB for each connection, and hand a read through
three layers.  Here all connections share what is between them and OpenSSL, as each read empties it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

_RECORD: Final = 16 * 1024
"""Bytes that TLS encrypts or gives at once, at most.  More is never handed to OpenSSL, whose buffers do not
shrink: they would keep the size of the largest read and write."""
_MOST_OUTGOING: Final = 4 * _RECORD
"""Bytes that are encrypted before they are taken out of what all connections share."""


class Buffers:
    """What all connections of an event loop share: it is empty again before another one uses it.

    `incoming` is what is to be decrypted, `outgoing` what was encrypted.  A connection with buffers of its
    own would keep them, however long it is silent.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()


class Secured(asyncio.Protocol, asyncio.Transport):
    """A protocol for the transport below, and a transport for the `protocol` above.

    `wrap` makes the TLS connection, a client's or a server's, of what comes in and goes out.  The protocol
    above hears of its connection when the handshake was good, which `ready` tells.
    """

    __slots__ = (
        *("_below", "_broken", "_ended", "_handshake", "_heard", "_incoming", "_outgoing", "_protocol"),
        "_tls",
    )

    def __init__(
        self,
        protocol: asyncio.Protocol,
        wrap: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], ssl.SSLObject],
        buffers: Buffers,
    ) -> None:
        self._protocol = protocol
        self._incoming, self._outgoing = buffers.incoming, buffers.outgoing
        self._tls = wrap(self._incoming, self._outgoing)
        self._below: asyncio.Transport
        self._ended = False  # by the other side, or by damage
        self._broken: Exception | None = None
        self._heard = False
        self._handshake: asyncio.Future[None] | None  # until it was good
        self._handshake = asyncio.get_running_loop().create_future()

    async def ready(self) -> None:
        """Wait for the handshake.  Raises SSLError and ConnectionError; then the transport is closed."""
        if self._handshake is None:
            return
        try:
            await self._handshake
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
        try:
            if len(data) <= _RECORD:
                read = self._decrypted(data)
            else:
                parts = memoryview(data)
                read = b"".join(
                    [self._decrypted(parts[at : at + _RECORD]) for at in range(0, len(data), _RECORD)]
                )
        finally:  # what stands behind the end, or behind damage, is not for another one
            if self._incoming.pending:
                self._incoming.read()
        if read and not self._heard:
            self._heard = True
            self._release()
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
        if self._handshake is not None and not self._shake_hands():
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

    def _release(self) -> None:
        """Have OpenSSL free the 16 KB that it took when the other side gave it sessions.

        It takes them to write, and frees them behind a write, of nothing as well.  With that goes what it had
        put off until the next write: the answer to a request for new keys.
        """
        with contextlib.suppress(ssl.SSLError):  # it may have ended its own side
            self._tls.write(b"")

    def pause_writing(self) -> None:
        """It takes no more for now."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It takes more."""
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone; anybody on the way can end a connection, so an end counts that TLS itself has told."""
        if self._handshake is None:
            cut = None if self._ended else ConnectionResetError("it ended without a word of the other side")
            self._protocol.connection_lost(self._broken or error or cut)
        else:
            self._fail(error or ConnectionResetError("it ended before it was secured"))

    # --------------------------------------------------------------------- the side of the protocol above

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another one goes on with it."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send it.  Damage that was read ends writing as well; `connection_lost` tells of it."""
        if self._below.is_closing():
            return
        try:
            for at in range(0, len(data), _RECORD):
                self._tls.write(data[at : at + _RECORD])
                if self._outgoing.pending >= _MOST_OUTGOING:
                    self._flush()
                    if self._below.is_closing():  # it found the line broken
                        return
        except ssl.SSLError as error:
            self._broken = self._broken or error
            self._below.abort()
            self._outgoing.read()  # what was encrypted is not for another one
            return
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
        if self._below.is_closing():  # it failed, with what the same read brought before
            return False
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
        handshake = self._handshake
        if handshake is None or handshake.done():  # nobody waits any more
            self._below.abort()
            return False
        self._handshake = None
        self._protocol.connection_made(self)
        handshake.set_result(None)
        return True

    def _fail(self, error: Exception) -> None:
        if self._handshake is not None and not self._handshake.done():
            self._handshake.set_exception(error)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())
