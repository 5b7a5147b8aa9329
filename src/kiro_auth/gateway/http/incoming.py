"""The body of a request as it comes, without I/O: kept when somebody will read it, else only counted off."""

from __future__ import annotations

import httptools

from kiro_auth.gateway.http.head import Head, Unreadable

_CHUNKS: bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
"""With this a parser knows what follows; that of the head has gone on to another protocol at an `Upgrade`."""
_MANY = 512
"""Pieces that are joined: one of two bytes takes the memory of fifty."""
_MOST_AROUND = 64 * 1024
"""Bytes that a body in chunks may have beyond twice the limit: sizes, extensions and trailers have no end."""


class TooLarge(Exception):
    """The body has more bytes than it may have, or its chunks bring too many that are nothing of it."""


class Incoming:
    """The body that this head announces, of at most `limit` bytes; it is kept if it is `wanted`.

    `behind` says that bytes of something else followed a body in chunks: where it began is not known.
    """

    __slots__ = (
        *("_came", "_latest", "_left", "_limit", "_parser", "_parts", "_size", "_wanted"),
        *("behind", "complete"),
    )

    def __init__(self, head: Head, limit: int, *, wanted: bool) -> None:
        self._wanted = wanted
        self._limit = limit
        self._left = head.length
        self._parts: list[bytes] = []
        self._latest: list[bytes] = []  # pieces that may be small, of which there may be many
        self._size = self._came = 0
        self._parser: httptools.HttpRequestParser | None = None
        self.complete = not head.chunked and not head.length
        self.behind = False
        if head.chunked:
            self._parser = httptools.HttpRequestParser(self)
            self._parser.feed_data(_CHUNKS)

    def feed(self, data: bytes) -> bytes:
        """Takes what a read brought; what is behind the body comes back.  Raises Unreadable, TooLarge."""
        if self._parser is not None:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError as error:
                if not self.complete:
                    raise Unreadable("it is malformed") from (error.__context__ or error)
            self._came += len(data)
            if self._size > self._limit or self._came > 2 * self._limit + _MOST_AROUND:
                raise TooLarge
            if self.complete:
                self._parser = None  # which holds this
            return b""
        if len(data) > self._left:
            data, behind = data[: self._left], data[self._left :]
        else:
            behind = b""
        self._left -= len(data)
        self.on_body(data)
        self.complete = not self._left
        return behind

    def taken(self) -> bytes:
        """All of it, copied once at most, and no longer kept here."""
        parts, self._parts, self._latest = self._parts + self._latest, [], []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # ------------------------------------------------------------------------------- the parser's side

    def on_body(self, part: bytes) -> None:
        """A part of it."""
        self._size += len(part)
        if self._wanted and self._size <= self._limit:
            self._latest.append(part)
            if len(self._latest) == _MANY:
                self._parts.append(b"".join(self._latest))
                self._latest.clear()

    def on_message_complete(self) -> None:
        """That was all of it."""
        self.complete = True

    def on_message_begin(self) -> None:
        """The first byte of the parser's own head, or of what follows the body."""
        self.behind = self.complete
