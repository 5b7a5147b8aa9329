"""The event-stream codec, judged by botocore's decoder and by AWS's JavaScript codec."""

from __future__ import annotations

import contextlib
import itertools
import json
import struct
import subprocess
import uuid
from binascii import crc32
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.reply.eventstream import (
    MAX_FRAME,
    MAX_HEADERS,
    EventStreamDecoder,
    Frame,
    FrameCorrupt,
    decode_headers,
    encode_frame,
)
from support.npm import NODE, npm_package

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.booleans(),
    INT64,
    st.binary(max_size=300),
    st.text(max_size=100),
    st.uuids(),
    st.integers(0, 2**42).map(lambda ms: EPOCH + timedelta(milliseconds=ms)),
)
NAMES = st.text(min_size=1, max_size=40).filter(lambda name: len(name.encode()) <= 255)
MESSAGES = st.tuples(st.dictionaries(NAMES, VALUES, max_size=5), st.binary(max_size=400))


def frame(headers: bytes = b"", payload: bytes = b"", *, total: int | None = None) -> bytes:
    """A frame by hand, with sound checksums whatever its lengths claim."""
    size = len(headers) + len(payload) + 16 if total is None else total
    prelude = struct.pack(">II", size, len(headers))
    message = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return message + struct.pack(">I", crc32(message))


def decoded(chunks: Iterable[bytes]) -> list[Frame]:
    decoder = EventStreamDecoder()
    frames = [found for chunk in chunks for found in decoder.feed(chunk)]
    decoder.close()
    return frames


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places)]


def as_botocore_has_it(value: Any) -> Any:
    """Botocore gives timestamps as milliseconds and UUIDs as bytes."""
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    return value.bytes if isinstance(value, uuid.UUID) else value


# ------------------------------------------------------------------------------------- outside judges


@given(st.lists(MESSAGES, max_size=4))
def test_botocore_reads_what_we_write(messages: list[tuple[dict[str, Any], bytes]]) -> None:
    judge = EventStreamBuffer()
    judge.add_data(b"".join(encode_frame(headers, payload) for headers, payload in messages))
    found = [(message.headers, message.payload) for message in judge]
    assert found == [
        ({name: as_botocore_has_it(value) for name, value in headers.items()}, payload)
        for headers, payload in messages
    ]


HEADERS_OF_EVERY_TYPE = [
    pytest.param(b"\x00", True, id="true"),
    pytest.param(b"\x01", False, id="false"),
    pytest.param(b"\x02\xff", -1, id="int8"),
    pytest.param(b"\x03\x80\x00", -32768, id="int16"),
    pytest.param(b"\x04\x7f\xff\xff\xff", 2**31 - 1, id="int32"),
    pytest.param(b"\x05" + b"\x80" + bytes(7), -(2**63), id="int64"),
    pytest.param(b"\x06\x00\x02\x00\xff", b"\x00\xff", id="bytes"),
    pytest.param(b"\x06\x00\x00", b"", id="no bytes"),
    pytest.param(b"\x07\x00\x03\xe2\x82\xac", "€", id="string"),
    pytest.param(b"\x08" + (1500).to_bytes(8), EPOCH + timedelta(seconds=1.5), id="timestamp"),
    pytest.param(b"\x09" + bytes(range(16)), uuid.UUID(bytes=bytes(range(16))), id="uuid"),
]


@pytest.mark.parametrize(("value", "meaning"), HEADERS_OF_EVERY_TYPE)
def test_every_header_type_is_read_as_botocore_reads_it(value: bytes, meaning: Any) -> None:
    data = frame(b"\x01n" + value, b"{}")
    judge = EventStreamBuffer()
    judge.add_data(data)
    assert decoded([data]) == [Frame({"n": meaning}, b"{}")]
    assert next(judge).headers == {"n": as_botocore_has_it(meaning)}


JAVASCRIPT_ENCODER = """
const { EventStreamCodec, Int64 } = require("@smithy/core/event-streams");
const { toUtf8, fromUtf8 } = require("@smithy/core/serde");
const codec = new EventStreamCodec(toUtf8, fromUtf8);
const headers = {
  yes: { type: "boolean", value: true },
  no: { type: "boolean", value: false },
  byte: { type: "byte", value: -7 },
  short: { type: "short", value: -300 },
  integer: { type: "integer", value: 70000 },
  long: { type: "long", value: Int64.fromNumber(-5000000000) },
  binary: { type: "binary", value: Uint8Array.from([0, 255]) },
  ":event-type": { type: "string", value: "grüße" },
  when: { type: "timestamp", value: new Date(1500) },
  id: { type: "uuid", value: "00010203-0405-0607-0809-0a0b0c0d0e0f" },
};
const messages = [
  { headers: {}, body: new Uint8Array(0) },
  { headers, body: fromUtf8('{"content":"€"}') },
  ...Object.entries(headers).map(([name, value]) => ({ headers: { [name]: value }, body: fromUtf8(name) })),
];
console.log(JSON.stringify(messages.map((m) => Buffer.from(codec.encode(m)).toString("hex"))));
"""


@pytest.mark.real
def test_we_read_what_the_javascript_client_of_aws_writes() -> None:
    package = npm_package("@aws/codewhisperer-streaming-client", "1.0.45")
    run = subprocess.run(
        [NODE, "-e", JAVASCRIPT_ENCODER], cwd=package, capture_output=True, text=True, timeout=240, check=True
    )
    headers = {
        "yes": True,
        "no": False,
        "byte": -7,
        "short": -300,
        "integer": 70000,
        "long": -5_000_000_000,
        "binary": b"\x00\xff",
        ":event-type": "grüße",
        "when": EPOCH + timedelta(seconds=1.5),
        "id": uuid.UUID("00010203-0405-0607-0809-0a0b0c0d0e0f"),
    }
    assert decoded(bytes.fromhex(message) for message in json.loads(run.stdout)) == [
        Frame({}, b""),
        Frame(headers, '{"content":"€"}'.encode()),
        *(Frame({name: value}, name.encode()) for name, value in headers.items()),
    ]


JAVASCRIPT_DECODER = """
const { EventStreamCodec } = require("@smithy/core/event-streams");
const { toUtf8, fromUtf8 } = require("@smithy/core/serde");
const codec = new EventStreamCodec(toUtf8, fromUtf8);
const message = codec.decode(Uint8Array.from(Buffer.from(process.argv[1], "hex")));
const plain = Object.entries(message.headers).map(([name, h]) => [name, h.type, String(h.value.valueOf())]);
console.log(JSON.stringify([plain, toUtf8(message.body)]));
"""


@pytest.mark.real
def test_the_javascript_client_of_aws_reads_what_we_write() -> None:
    package = npm_package("@aws/codewhisperer-streaming-client", "1.0.45")
    data = encode_frame(
        {"a": True, "b": -5, "c": "€", "d": b"\x01\x02", "e": EPOCH, "f": uuid.UUID(int=1)}, b"{}"
    )
    run = subprocess.run(
        [NODE, "-e", JAVASCRIPT_DECODER, data.hex()],
        cwd=package, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    headers, body = json.loads(run.stdout)
    assert body == "{}"
    assert headers == [
        ["a", "boolean", "true"],
        ["b", "long", "-5"],
        ["c", "string", "€"],
        ["d", "binary", "1,2"],
        ["e", "timestamp", "0"],
        ["f", "uuid", "00000000-0000-0000-0000-000000000001"],
    ]


# ----------------------------------------------------------------------------------------------- laws


@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(0, 5000), max_size=8))
def test_frames_are_the_same_however_the_bytes_are_cut(
    messages: list[tuple[dict[str, Any], bytes]], at: list[int]
) -> None:
    data = b"".join(encode_frame(headers, payload) for headers, payload in messages)
    assert decoded(cut(data, at)) == [Frame(headers, payload) for headers, payload in messages]


def test_frames_are_the_same_byte_by_byte() -> None:
    data = encode_frame({"a": "ä"}, "€".encode()) * 3
    assert decoded(data[at : at + 1] for at in range(len(data))) == [Frame({"a": "ä"}, "€".encode())] * 3


@given(st.lists(st.binary(max_size=200) | MESSAGES.map(lambda m: encode_frame(*m)), max_size=6))
def test_any_bytes_give_frames_or_frame_corrupt_and_nothing_else(chunks: list[bytes]) -> None:
    decoder = EventStreamDecoder()
    try:
        for chunk in chunks:
            decoder.feed(chunk)
        decoder.close()
    except FrameCorrupt:
        pass


@given(st.binary(max_size=120))
def test_any_bytes_as_headers_give_headers_or_frame_corrupt_and_nothing_else(block: bytes) -> None:
    with contextlib.suppress(FrameCorrupt):
        decode_headers(block)


@given(MESSAGES, st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(message: tuple[dict[str, Any], bytes], at: int, change: int) -> None:
    data = bytearray(encode_frame(*message))
    data[at % len(data)] ^= change
    with pytest.raises(FrameCorrupt):
        decoded([bytes(data)])


@given(MESSAGES, st.integers(0, 10**6))
def test_an_end_inside_a_frame_is_noticed(message: tuple[dict[str, Any], bytes], at: int) -> None:
    data = encode_frame(*message)
    with pytest.raises(FrameCorrupt, match="ended inside a frame"):
        decoded([data, data[: 1 + at % (len(data) - 1)]])


def test_damage_does_not_hide_the_frames_before_it() -> None:
    with pytest.raises(FrameCorrupt) as damage:
        EventStreamDecoder().feed(encode_frame({}, b"1") + encode_frame({}, b"2") + b"?" * 16)
    assert [sound.payload for sound in damage.value.frames] == [b"1", b"2"]


def test_an_end_between_frames_is_no_fault() -> None:
    assert decoded([]) == []
    assert decoded([b"", encode_frame({}, b"")]) == [Frame({}, b"")]


# --------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        pytest.param(frame(total=15), "claims 15 bytes", id="shorter than its own overhead"),
        pytest.param(frame(total=MAX_FRAME + 1), f"claims {MAX_FRAME + 1} bytes", id="too long"),
        pytest.param(frame(b"h" * 5, total=20), "claims 5 bytes of headers", id="headers beyond the frame"),
        pytest.param(
            frame(bytes(MAX_HEADERS + 1)), f"{MAX_HEADERS + 1} bytes of headers", id="too many headers"
        ),
    ],
)
def test_a_frame_beyond_the_limits_is_refused_by_its_first_twelve_bytes(data: bytes, complaint: str) -> None:
    with pytest.raises(FrameCorrupt, match=complaint):
        EventStreamDecoder().feed(data[:12])


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(b"\x01n\x0a", id="a type that does not exist"),
        pytest.param(b"\x01n", id="no type"),
        pytest.param(b"\x05n\x00", id="a name that is cut short"),
        pytest.param(b"\x01n\x04\x00", id="a number that is cut short"),
        pytest.param(b"\x01n\x07\x00\x05ab", id="a string that is cut short"),
        pytest.param(b"\x01n\x07\x00\x01\xff", id="a string that is no UTF-8"),
        pytest.param(b"\x01\xff\x00", id="a name that is no UTF-8"),
        pytest.param(b"\x01n\x00\x01n\x01", id="a name twice"),
        pytest.param(b"\x01n\x08\x7f" + b"\xff" * 7, id="a time beyond the calendar"),
    ],
)
def test_headers_that_cannot_be_read_are_refused(headers: bytes) -> None:
    with pytest.raises(FrameCorrupt):
        decoded([frame(headers)])


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        pytest.param({"": "x"}, b"", id="a header without a name"),
        pytest.param({"ä" * 128: "x"}, b"", id="a name of 256 bytes"),
        pytest.param({"n": "x" * 65536}, b"", id="a value of 65536 bytes"),
        pytest.param({str(n): b"x" * 65000 for n in range(3)}, b"", id="too many bytes of headers"),
        pytest.param({}, bytes(MAX_FRAME - 15), id="a payload that is too long"),
    ],
)
def test_what_does_not_fit_is_not_written(headers: dict[str, Any], payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"bytes|header"):
        encode_frame(headers, payload)


def test_the_largest_frame_passes() -> None:
    payload = bytes(MAX_FRAME - 16)
    assert decoded([encode_frame({}, payload)])[0].payload == payload
