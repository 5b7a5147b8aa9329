"""How bodies are unpacked, whichever way a client packed them."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW: Final = int(zstd.DecompressionParameter.window_log_max)
_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 64 * 1024
_MOST_STREAMS: Final = 1000
"""Packed streams of one body; clients pack it as one."""


class _Unpacker(Protocol):
    """Unpacks one packed stream."""

    @property
    def eof(self) -> bool:
        """Whether it is whole."""

    @property
    def unused_data(self) -> bytes:
        """What was given that stands behind it."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """The next bytes of it, at most so many; fewer where all that was given is used."""


def _in_a_row(make: Callable[[], _Unpacker], body: bytes, most: int) -> bytes:
    """What the packed streams give that stand in a row, of which each format allows several.

    Empty ones cost time and give nothing, so that they are few.  Raises what `make`'s do, and EOFError.
    """
    parts: list[bytes] = []
    left, streams, unpacker = most, 1, make()
    for at in range(0, len(body), _PIECE):  # what stands behind a stream is copied with it
        packed = body[at : at + _PIECE]
        while packed:
            if unpacker.eof:
                streams += 1
                unpacker = make()
            parts.append(unpacker.decompress(packed, left))
            left -= len(parts[-1])
            if not left:
                return b"".join(parts)
            packed = unpacker.unused_data
            if streams > _MOST_STREAMS:
                raise EOFError
    if not unpacker.eof:
        raise EOFError
    return b"".join(parts)


def _gzip(body: bytes, most: int) -> bytes:
    return _in_a_row(partial(zlib.decompressobj, _GZIP), body, most)


def _deflate(body: bytes, most: int) -> bytes:
    """With zlib's header, as HTTP wants it, or without, as some programs send it."""
    wbits = zlib.MAX_WBITS if body[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS
    return _in_a_row(partial(zlib.decompressobj, wbits), body, most)


def _zstd(body: bytes, most: int) -> bytes:
    window = {
        _WINDOW: (most - 1).bit_length() - 1
    }  # it may ask for the memory of the largest body in one piece
    return _in_a_row(partial(zstd.ZstdDecompressor, options=window), body, most)


def _brotli(body: bytes, most: int) -> bytes:
    unpacker, unpacked = brotli.Decompressor(), bytearray()
    unpacked += unpacker.process(body, output_buffer_limit=most)
    while not unpacker.can_accept_more_data() and len(unpacked) < most:
        unpacked += unpacker.process(b"", output_buffer_limit=most - len(unpacked))
    if not unpacker.is_finished() and len(unpacked) < most:
        raise EOFError
    return bytes(unpacked)


UNPACKERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
"""Each gives at most so many bytes, and reads no further then."""
DAMAGED: Final = (EOFError, zlib.error, zstd.ZstdError, brotli.error)
"""What they raise for what is not packed so, or not whole."""
