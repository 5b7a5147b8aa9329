"""How bodies are unpacked, whichever way a client packed them."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Final

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW: Final = int(zstd.DecompressionParameter.window_log_max)


def _gzip(body: bytes, most: int) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(body)) as file:
        return file.read(most)


def _deflate(body: bytes, most: int) -> bytes:
    """With zlib's header, as HTTP wants it, or without, as some programs send it."""
    wbits = zlib.MAX_WBITS if body[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS
    unpacker = zlib.decompressobj(wbits)
    unpacked = unpacker.decompress(body, most)
    if not unpacker.eof and len(unpacked) < most:
        raise EOFError
    return unpacked


def _zstd(body: bytes, most: int) -> bytes:
    window = {
        _WINDOW: (most - 1).bit_length() - 1
    }  # it may ask for the memory of the largest body in one piece
    with zstd.ZstdFile(BytesIO(body), options=window) as file:
        return file.read(most)


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
DAMAGED: Final = (EOFError, OSError, zlib.error, zstd.ZstdError, brotli.error)
"""What they raise for what is not packed so, or not whole."""
