"""One connection to a service, which carries one request after another: HTTP/1.1 without a task between.

A read of the socket is parsed once, and all that it brought of an answer's body goes on as one piece, from
within the event loop's callback.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, cast

import httptools

from kiro_auth.kiro.edge.answer import Answer, LineFailed
from kiro_auth.kiro.edge.connecting import Place

_MOST_HEAD: Final = 64 * 1024
"""Bytes that may come, in several reads, before the head of an answer is complete."""
_PIECE: Final = 64 * 1024
_NOTHING: Final = memoryview(b"")
_PACKED: Final = ("gzip", "x-gzip", "deflate")
_EITHER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, as it says itself
_UNPACKED_AT_ONCE: Final = 1024 * 1024
_MOST_UNREAD: Final = 16 * _UNPACKED_AT_ONCE
"""Bytes that nobody has read yet, unpacked: no reply makes so many of one read of the socket."""


@lru_cache(maxsize=64)
def _name(name: bytes) -> str:
    """The name of a header in lower case; hosts have few."""
    return name.decode("ascii").lower()


class Owner(Protocol):
    """Keeps connections."""

    def on_free(self, connection: Connection) -> None:
        """It may carry another request."""

    def on_lost(self, connection: Connection) -> None:
        """It is gone."""


class Connection(asyncio.Protocol):
    """A connection to a `place`, which carries one request at a time."""

    __slots__ = (
        *("_alarm", "_answer", "_answered", "_body", "_complete", "_full", "_gone", "_head_size", "_headers"),
        *("_heard", "_loop", "_owner", "_parser", "_paused", "_silence", "_spoilt", "_stays", "_unpacker"),
        *("_unsent", "_until_end", "idle_since", "lost", "place", "transport"),
    )

    def __init__(self, place: Place, owner: Owner) -> None:
        self.place = place
        self._silence = 0.0
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.lost = False
        self._gone: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self._answer: Answer | None = None
        self._answered: asyncio.Future[Answer] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._heard = 0.0
        self._paused = False
        self._unsent = _NOTHING  # of the body
        self._full = False

    # ------------------------------------------------------------------------------- the caller's side

    async def ask(self, head: bytes, body: bytes, silence: float) -> Answer:
        """Send a request; the answer, as soon as its head is there.  Raises LineFailed.

        `silence` is how long, in seconds, the host may send nothing.  After a failure call `leave`.
        """
        if self._is_ending():  # before anything was sent
            raise LineFailed("refused")
        self._silence = silence
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._unpacker: zlib._Decompress | None = None
        self._complete = self._until_end = self._spoilt = self._stays = False
        self._answer, self._answered = None, self._loop.create_future()
        if len(body) <= _PIECE:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._unsent = memoryview(body)
            self._send()
        self._heard = self._loop.time()
        self._alarm = self._loop.call_at(self._heard + self._silence, self._is_it_silent)
        return await self._answered

    def _send(self) -> None:
        """Send the body as it is taken: what TLS has encrypted at once it never gives back."""
        while self._unsent and not self._full:
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self.transport.write(piece)
        if not self._unsent:
            self._unsent = _NOTHING  # an empty part of the body would keep the whole of it

    def leave(self, *, complete: bool) -> None:
        """The request is over."""
        if self._alarm is not None:
            self._alarm.cancel()
        unsent, self._unsent = self._unsent, _NOTHING
        self._answer = self._answered = None
        self.resume()
        if self.lost:
            return
        kept = complete and self._stays and not self._spoilt and not unsent
        if kept and not self.transport.get_write_buffer_size():
            self._owner.on_free(self)
        else:
            self.transport.abort()

    def end(self) -> asyncio.Future[None]:
        """Close it at once; done when it is gone."""
        self._gone = self._loop.create_future()
        self.transport.abort()
        return self._gone

    def pause(self) -> None:
        """Read no more of the answer for now; what comes behind its end is still seen at once."""
        if not self._paused and not self._complete and not self._is_ending():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and not self._is_ending():
            self._paused = False
            self._heard = self._loop.time()
            self.transport.resume_reading()

    def _is_ending(self) -> bool:
        return self.lost or self.transport.is_closing()

    def _is_it_silent(self) -> None:
        if self._complete:  # it is not the host that is awaited
            return
        now = self._loop.time()
        if self._paused:  # it is not the host that is silent
            self._heard = now
        silent_at = self._heard + self._silence
        if silent_at > now:
            self._alarm = self._loop.call_at(silent_at, self._is_it_silent)
            return
        self._fail(LineFailed("silent"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None:
            self._answer.on_end(error)
        elif self._answered is not None and not self._answered.done():
            self._answered.set_exception(error)
        if not self.lost:
            self.transport.abort()

    # ---------------------------------------------------------------------------- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can be used."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.transport.set_write_buffer_limits(high=_PIECE)

    def pause_writing(self) -> None:
        """The host takes less than was sent."""
        self._full = True

    def resume_writing(self) -> None:
        """The host takes more."""
        self._full = False
        self._heard = self._loop.time()
        self._send()

    def data_received(self, data: bytes) -> None:
        """What one read brought."""
        unasked = self._answered is None or self._complete
        if unasked:
            self.transport.abort()
            return
        self._heard = self._loop.time()
        damage: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._spoilt = True
            damage = None if self._complete else error  # what follows an answer is nothing of it
        answer = self._answer
        if answer is None:
            self._head_size += len(data)
            if self._head_size > _MOST_HEAD:
                damage = ValueError("the head of the answer is too large")
        elif self._unpacker is not None:  # what came whole before the damage is still of use
            damage = self._unpack(self._unpacker, answer) or damage
        elif self._body:
            read = b"".join(self._body)
            self._body.clear()
            answer.on_data(read)
        if damage is not None:
            self._fail(_broken(damage))
        elif self._complete and self._answer is not None:
            self._answer.on_end()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone; an answer whose length nobody said is complete then."""
        self.lost = True
        if self._gone is not None:
            self._gone.set_result(None)
        if self._answer is not None and not self._complete:
            clean = self._until_end and error is None
            self._answer.on_end(None if clean else LineFailed("broken"))
        elif self._answer is None:
            self._fail(LineFailed("broken"))
        self._owner.on_lost(self)

    def _unpack(self, unpacker: zlib._Decompress, answer: Answer) -> Exception | None:
        """Pass on what came of a packed body; the damage that ends it."""
        packed = b"".join(self._body)
        self._body.clear()
        try:
            while packed:
                if unpacker.eof:  # it would keep all that comes, and copy it with each read
                    return zlib.error("something stands behind what was packed")
                if piece := unpacker.decompress(packed, _UNPACKED_AT_ONCE):
                    answer.on_data(piece)
                if answer.waiting > _MOST_UNREAD:
                    return OverflowError("the answer unpacks to more than any has")
                packed = unpacker.unconsumed_tail or unpacker.unused_data
        except zlib.error as error:
            return error
        if self._complete and not unpacker.eof:
            return zlib.error("what was packed is cut short")
        return None

    # ------------------------------------------------------------------------------- the parser's side

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what comes behind the one that was asked for."""
        self._spoilt = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head; those that follow a body in chunks say nothing of use."""
        if self._answer is None:
            self._headers[_name(name)] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        status = self._parser.get_status_code()
        headers = self._headers
        if status < 200:
            return
        if self._spoilt or self._answered is None:
            raise ValueError("another answer than was asked for")
        self._stays = self._parser.should_keep_alive()
        self._until_end = "content-length" not in headers and "transfer-encoding" not in headers
        if headers.get("content-encoding", "").lower() in _PACKED:
            self._unpacker = zlib.decompressobj(_EITHER)
        self._answer = Answer(self, self.place.host, status, headers)
        self._headers = {}
        if not self._answered.done():
            self._answered.set_result(self._answer)

    @property
    def on_body(self) -> Callable[[bytes], None]:
        """Takes a piece of the body: one of several that a read may have brought."""
        return self._body.append

    def on_message_complete(self) -> None:
        """The answer is complete; one that only says that another will follow is forgotten."""
        if self._answer is None:
            self._headers = {}
        else:
            self._complete = True


def _broken(error: Exception) -> LineFailed:
    failed = LineFailed("broken")
    failed.__cause__ = error
    return failed
