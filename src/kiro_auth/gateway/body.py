"""A request's body, unpacked: whatever way a client packed it, and never more than the limit.

Nothing is unpacked before somebody asks for the body, which is after the guard has let the request in.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Final

import brotli
from aiohttp import web

from kiro_auth.failures import Failure, TurnFailed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of one request, packed and unpacked.  20 MB of images and history are ordinary traffic; the rest is
headroom."""
_ZSTD_WINDOW: Final = {int(zstd.DecompressionParameter.window_log_max): MAX_BODY.bit_length() - 1}
"""How much memory a zstd frame may ask for: that of the largest body in one piece."""


async def read_body(request: web.Request) -> bytes:
    """The whole body.  Raises TurnFailed: KA-SIZE, KA-ENCODING, and KA-REQUEST for one that is damaged."""
    if (request.content_length or 0) > MAX_BODY:
        raise TurnFailed(_TOO_LARGE)
    try:
        body = await _sent(request)
    except web.RequestPayloadError as error:
        request.content.feed_eof()  # or the server reads on after the answer, and logs that it cannot
        reason = str(error).partition("\n")[0].strip(" :.")
        raise TurnFailed(_damaged(reason or "it is not what its headers say")) from error
    for encoding in reversed(_encodings(request)):
        body = await asyncio.to_thread(_unpacked, body, encoding)
    return body


async def _sent(request: web.Request) -> bytes:
    """What was sent, copied once: `request.read()` copies three times, which a long history feels."""
    parts, size = [], 0
    while part := await request.content.readany():
        parts.append(part)
        size += len(part)
        if size > request.client_max_size:
            raise TurnFailed(_TOO_LARGE)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _encodings(request: web.Request) -> list[str]:
    """How the body was packed, in the order in which that was done."""
    named = ",".join(request.headers.getall("Content-Encoding", [])).lower().split(",")
    return [name for name in map(str.strip, named) if name not in ("", "identity")]


def _unpacked(body: bytes, encoding: str) -> bytes:
    unpack = _UNPACKERS.get(encoding)
    if unpack is None:
        raise TurnFailed(
            Failure(
                code="KA-ENCODING",
                message=f"The request's body is packed as {encoding[:40]!r}, which is not known here.",
                next_step=f"Send it as it is, or packed as one of {', '.join(_UNPACKERS)}.",
            )
        )
    if not body:
        return body
    try:
        unpacked = unpack(body, MAX_BODY + 1)
    except _DAMAGED as error:
        raise TurnFailed(_damaged(f"it is not packed as {encoding}, or not whole")) from error
    if len(unpacked) > MAX_BODY:
        raise TurnFailed(_TOO_LARGE)
    return unpacked


def _damaged(reason: str) -> Failure:
    return Failure(code="KA-REQUEST", message=f"The request's body cannot be read: {reason}.")


_TOO_LARGE: Final = Failure(
    code="KA-SIZE",
    message=f"The request is larger than {MAX_BODY >> 20} MiB.",
    next_step="Leave out large attachments, or compact the conversation (/compact).",
)


# ------------------------------------------------------------------------------------------ packers


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
    with zstd.ZstdFile(BytesIO(body), options=_ZSTD_WINDOW) as file:
        return file.read(most)


def _brotli(body: bytes, most: int) -> bytes:
    unpacker, unpacked = brotli.Decompressor(), bytearray()
    unpacked += unpacker.process(body, output_buffer_limit=most)
    while not unpacker.can_accept_more_data() and len(unpacked) < most:
        unpacked += unpacker.process(b"", output_buffer_limit=most - len(unpacked))
    if not unpacker.is_finished() and len(unpacked) < most:
        raise EOFError
    return bytes(unpacked)


_UNPACKERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
"""Each gives at most so many bytes, and reads no further then."""
_DAMAGED: Final = (EOFError, OSError, zlib.error, zstd.ZstdError, brotli.error)
