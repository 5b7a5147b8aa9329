"""The framing of the service's replies: `application/vnd.amazon.eventstream`.

Bytes in, frames out, no I/O.  A frame is

    total length (4) | headers length (4) | CRC-32 of those 8 bytes (4)
    headers          | payload            | CRC-32 of everything before (4)

all big-endian; a header is name length (1), name, type (1), value.  Layout after AWS's published
description and botocore's decoder; the limits of 16 MiB and 128 KiB are the ones AWS's clients use.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias
from zlib import crc32

from msgspec import Struct

HeaderValue: TypeAlias = bool | int | bytes | str | datetime | uuid.UUID

MAX_FRAME: Final = 16 * 1024 * 1024
MAX_HEADERS: Final = 128 * 1024
_OVERHEAD: Final = 16  # prelude, its checksum, and the final checksum
_MOST_USUAL: Final = 512  # bytes before a payload, of which the headers are kept once they were read

_PRELUDE: Final = struct.Struct(">III")
_CHECKSUM: Final = struct.Struct(">I")
_NO_HEADERS: Final[Mapping[str, HeaderValue]] = {}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FrameCorrupt(ValueError):
    """The bytes are not an event stream: a checksum, a length or a header is wrong, or the end is missing.

    `frames` are the sound ones that the same bytes brought before the damage.
    """

    frames: Sequence[Frame] = ()


class Frame(Struct, frozen=True, gc=False):
    """One message: its headers by name, and its payload."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class EventStreamDecoder:
    """Turns the service's bytes into frames, however they were cut.

    Keeps only the incomplete tail.  After FrameCorrupt the decoder must not be used again.
    """

    __slots__ = ("_need", "_tail")

    def __init__(self) -> None:
        self._tail = bytearray()
        self._need = 12  # bytes of it, before which it is not worth looking at

    def feed(self, data: bytes) -> list[Frame]:
        """All frames that are complete by now.  Raises FrameCorrupt."""
        if self._tail:
            self._tail += data
            if len(self._tail) < self._need:
                return []
            data = bytes(self._tail)
        frames: list[Frame] = []
        at, end, need = 0, len(data), 12
        block, headers = b"", _NO_HEADERS
        try:
            while (left := end - at) >= 12:
                total, payload_at = _sizes_in(data[at : at + 12])
                if left < total:
                    need = total
                    break
                checked = data[at : at + total - 4]
                at += total
                if crc32(checked) != _CHECKSUM.unpack_from(data, at - 4)[0]:
                    raise FrameCorrupt("the checksum of a frame is wrong")
                if checked[12:payload_at] != block:  # most frames have those of the one before
                    block = checked[12:payload_at]
                    headers = _usual(block) if payload_at <= _MOST_USUAL else decode_headers(block)
                frames.append(Frame(headers, checked[payload_at:]))
        except FrameCorrupt as error:
            error.frames = frames
            raise
        if at < end or self._tail:
            self._tail = bytearray(data[at:])
            self._need = need
        return frames

    def close(self) -> None:
        """Say that no bytes follow.  Raises FrameCorrupt if the stream ended inside a frame."""
        if self._tail:
            raise FrameCorrupt(f"the stream ended inside a frame, {len(self._tail)} bytes into it")


# Streams repeat the same few header blocks and lengths; each is read once.
@lru_cache(maxsize=1024)
def _sizes_in(prelude: bytes) -> tuple[int, int]:
    total, headers_length, prelude_crc = _PRELUDE.unpack(prelude)
    if crc32(prelude[:8]) != prelude_crc:
        raise FrameCorrupt("the checksum of a frame's prelude is wrong")
    if not _OVERHEAD <= total <= MAX_FRAME:
        raise FrameCorrupt(f"a frame claims {total} bytes")
    if headers_length > min(MAX_HEADERS, total - _OVERHEAD):
        raise FrameCorrupt(f"a frame of {total} bytes claims {headers_length} bytes of headers")
    return total, 12 + headers_length


def decode_headers(block: bytes) -> dict[str, HeaderValue]:
    """The headers of one frame.  Raises FrameCorrupt."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            read, size = _READERS[block[name_end]]
            value_at = name_end + 1
            if size < 0:
                size = int.from_bytes(block[value_at : value_at + 2])
                value_at += 2
            raw = block[value_at : value_at + size]
            if len(raw) != size or name in headers:
                raise FrameCorrupt(f"the header {name!r} is cut short or stands twice")
            headers[name] = read(raw)
            at = value_at + size
    except (IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise FrameCorrupt("a frame's headers cannot be read") from error
    return headers


_usual: Final = lru_cache(maxsize=256)(decode_headers)


def encode_frame(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """One frame with these headers.  Integers travel as int64.  Raises ValueError for what does not fit."""
    block = b"".join(_encode_header(name, value) for name, value in headers.items())
    total = len(block) + len(payload) + _OVERHEAD
    if len(block) > MAX_HEADERS or total > MAX_FRAME:
        raise ValueError(f"a frame of {total} bytes with {len(block)} bytes of headers is too large")
    prelude = struct.pack(">II", total, len(block))
    message = b"".join((prelude, _CHECKSUM.pack(crc32(prelude)), block, payload))
    return message + _CHECKSUM.pack(crc32(message))


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw, signed=True)


_READERS: Final[dict[int, tuple[Callable[[bytes], HeaderValue], int]]] = {
    # header type: how to read the value, and its size (-1: a 2-byte length stands before it)
    0: (lambda _: True, 0),
    1: (lambda _: False, 0),
    2: (_integer, 1),
    3: (_integer, 2),
    4: (_integer, 4),
    5: (_integer, 8),
    6: (bytes, -1),
    7: (bytes.decode, -1),
    8: (lambda raw: _EPOCH + timedelta(milliseconds=_integer(raw)), 8),
    9: (lambda raw: uuid.UUID(bytes=raw), 16),
}


def _encode_header(name: str, value: HeaderValue) -> bytes:
    raw_name = name.encode()
    if not 1 <= len(raw_name) <= 255:
        raise ValueError(f"a header's name takes 1 to 255 bytes, not {len(raw_name)}")
    return bytes((len(raw_name),)) + raw_name + _encode_value(value)


def _encode_value(value: HeaderValue) -> bytes:
    match value:
        case bool():
            return b"\x00" if value else b"\x01"
        case int():
            return b"\x05" + value.to_bytes(8, signed=True)
        case str():
            return b"\x07" + _sized(value.encode())
        case bytes():
            return b"\x06" + _sized(value)
        case datetime():
            return b"\x08" + ((value - _EPOCH) // timedelta(milliseconds=1)).to_bytes(8, signed=True)
        case uuid.UUID():
            return b"\x09" + value.bytes


def _sized(raw: bytes) -> bytes:
    if len(raw) > 0xFFFF:
        raise ValueError(f"a header's value takes at most 65535 bytes, not {len(raw)}")
    return len(raw).to_bytes(2) + raw
