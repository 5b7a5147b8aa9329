"""Any bytes as an HTTP answer give the same answer or LineFailed however they are cut, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import zlib
from typing import Any, cast

from hypothesis import strategies as st

from fuzz.mutation import changed_bytes
from kiro_auth.kiro.edge.answer import LineFailed
from kiro_auth.kiro.edge.connecting import Place
from kiro_auth.kiro.edge.transport import Connection

_BODY = b'{"models": [{"modelId": "m"}]} and some words more'
_PACKED = gzip.compress(_BODY, mtime=0)
_OK = b"HTTP/1.1 200 OK\r\n"
_HOST = Place("https", "host", 443)


def _chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


_SOUND = [
    _OK + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY,
    _OK
    + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunks(_BODY[:9], _BODY[9:]),
    _OK + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(_BODY)[:-2] + b"X-Late: yes\r\n\r\n",
    _OK + b"Connection: close\r\n\r\n" + _BODY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + _OK + b"Content-Length: 2\r\n\r\nHi",
    _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_PACKED) + _PACKED,
    _OK + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunks(zlib.compress(_BODY)),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 403 Forbidden\r\nx-amzn-requestid: r\r\n\r\n{}",
]

INPUTS = st.tuples(changed_bytes(_SOUND), st.lists(st.integers(0, 400), max_size=5))


def check(data: tuple[bytes, list[int]]) -> None:
    """The invariant, for one input: bytes, and where they are cut."""
    wire, cuts = data
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges) if end > start]

    whole, body, broken = asyncio.run(_answer([wire] if wire else []))
    head, in_pieces, broken_in_pieces = asyncio.run(_answer(pieces))
    assert broken == broken_in_pieces
    # Of one piece that breaks nothing comes out, not even what stands before the fault.
    assert in_pieces.startswith(body) if broken else (head, in_pieces) == (whole, body)


async def _answer(pieces: list[bytes]) -> tuple[Any, bytes, bool]:
    """Status and headers, the body, and whether the line broke."""
    wire = _Wire()
    connection = wire.connection = Connection(_HOST, _Owner())
    connection.connection_made(cast("asyncio.Transport", wire))
    asking = asyncio.ensure_future(connection.ask(b"", b"", 60))
    await asyncio.sleep(0)
    body = b""
    for piece in pieces:
        if not connection.lost:
            connection.data_received(piece)
        if asking.done() or (await _settled(asking)):
            body += await _at_hand(asking)
    if not connection.lost:
        connection.connection_lost(None)
    try:
        answer = await asking
        while part := await answer.read():
            body += part
    except LineFailed:
        return None, body, True
    finally:
        connection.leave(complete=False)
    assert 200 <= answer.status < 1000
    assert all(name == name.lower() for name in answer.headers)
    return (answer.status, answer.headers, answer.content_type), body, False


async def _settled(asking: asyncio.Future[Any]) -> bool:
    await asyncio.sleep(0)
    return asking.done()


async def _at_hand(asking: asyncio.Future[Any]) -> bytes:
    """What came of the body by now; a fault is for whoever reads at the end."""
    if asking.exception() is None and asking.result().waiting:
        return cast("bytes", await asking.result().read())
    return b""


class _Owner:
    """Keeps no connection."""

    def on_free(self, connection: Connection) -> None:
        pass

    def on_lost(self, connection: Connection) -> None:
        pass


class _Wire:
    """The transport of a connection, on which nothing is sent."""

    connection: Connection

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return self.connection.lost

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.connection.lost:
            self.connection.connection_lost(None)
