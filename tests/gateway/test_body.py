"""Bodies that are packed, in every way and none too large."""

from __future__ import annotations

import gzip
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.unpacking import UNPACKERS, zstd
from support.exchange import Client, a_request


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, compresslevel=1),
    "x-gzip": partial(gzip.compress, compresslevel=1),
    "deflate": partial(zlib.compress, level=1),
    "br": partial(brotli.compress, quality=1),
    "zstd": zstd.compress,
}
packed = pytest.mark.parametrize("encoding", PACKERS)


async def read(body: bytes, *encodings: str) -> bytes:
    headers = [("Content-Encoding", encoding) for encoding in encodings]
    return await read_body(a_request(Client(), "/v1/messages", body, headers))


async def refusal(body: bytes, *encodings: str) -> tuple[str, str]:
    with pytest.raises(TurnFailed) as raised:
        await read(body, *encodings)
    return raised.value.failure.code, raised.value.failure.sentence()


@packed
async def test_a_packed_body_is_read(encoding: str) -> None:
    words = b'{"model": "x"}' * 1000

    assert await read(PACKERS[encoding](words), encoding) == words
    assert await read(PACKERS[encoding](b""), encoding) == b""
    assert await read(b"", encoding) == b""


@given(st.binary(max_size=2000), st.lists(st.sampled_from([*PACKERS, "identity"]), max_size=3), st.booleans())
async def test_what_was_packed_several_times_is_unpacked_in_the_order_back(
    words: bytes, encodings: list[str], in_one_header: bool
) -> None:
    body = words
    for encoding in encodings:
        body = PACKERS.get(encoding, bytes)(body)
    named = [", ".join(encodings).upper()] if in_one_header and encodings else encodings

    assert await read(body, *named) == words


async def test_several_pieces_in_a_row_and_deflate_without_its_header_are_read_whole() -> None:
    assert await read(gzip.compress(b"one, ") + gzip.compress(b"two"), "gzip") == b"one, two"
    assert await read(zstd.compress(b"one, ") + zstd.compress(b"two"), "zstd") == b"one, two"
    assert await read(bare_deflate(b"words"), "deflate") == b"words"


@pytest.mark.slow
@packed
async def test_no_more_than_the_limit_is_unpacked(encoding: str) -> None:
    bomb = PACKERS[encoding](bytes(4 * MAX_BODY))
    tracemalloc.start()
    code, sentence = await refusal(bomb, encoding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (code, "64 MiB" in sentence) == ("KA-SIZE", True)
    assert peak < 4 * MAX_BODY
    assert len(await read(PACKERS[encoding](bytes(MAX_BODY)), encoding)) == MAX_BODY


async def test_a_frame_that_asks_for_more_memory_than_a_body_may_have_is_refused() -> None:
    window = {zstd.CompressionParameter.window_log: 30, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=window)
    code, _ = await refusal(packer.compress(b"words") + packer.flush(), "zstd")

    assert code == "KA-REQUEST"


EMPTY = {
    "gzip": gzip.compress(b""),
    "deflate": zlib.compress(b""),
    "zstd": zstd.compress(b""),
    "zstd, frames to skip": b"\x50\x2a\x4d\x18" + bytes(4),
}


@pytest.mark.parametrize("way", EMPTY)
async def test_however_many_empty_streams_stand_in_a_row_few_are_looked_at(way: str) -> None:
    empty, encoding = EMPTY[way], way.partition(",")[0]
    begun = time.thread_time()
    with pytest.raises(EOFError):
        UNPACKERS[encoding](empty * (8_000_000 // len(empty)), MAX_BODY)

    assert time.thread_time() - begun < 1.0  # all of them take five to twelve
    assert await read(empty * 500 + PACKERS[encoding](b"words"), encoding) == b"words"


@packed
async def test_what_stands_behind_a_packed_body_is_not_left_out_in_silence(encoding: str) -> None:
    code, _ = await refusal(PACKERS[encoding](b"words") + b"more words", encoding)

    assert code == "KA-REQUEST"


@pytest.mark.parametrize("in_one_header", [True, False])
async def test_a_body_is_not_unpacked_for_ever(in_one_header: bool) -> None:
    often = ["gzip"] * 4
    code, sentence = await refusal(b"{}", *([", ".join(often)] if in_one_header else often))

    assert (code, "more than 3 times" in sentence) == ("KA-ENCODING", True)


@packed
async def test_a_damaged_body_is_the_client_s_fault(encoding: str) -> None:
    whole = PACKERS[encoding](random.Random(1).randbytes(5000))
    for damaged in (b"{}", whole[:-1], whole[: len(whole) // 2], b"\x00" + whole):
        code, sentence = await refusal(damaged, encoding)
        assert (code, encoding in sentence) == ("KA-REQUEST", True)


@pytest.mark.parametrize("encoding", ["compress", "lz4", "gzip, snappy", "zstd;q=1"])
async def test_a_way_that_nobody_here_knows_is_named_with_those_that_are(encoding: str) -> None:
    code, sentence = await refusal(gzip.compress(b"{}"), encoding)

    assert code == "KA-ENCODING"
    assert encoding.rpartition(" ")[2] in sentence
    assert all(known in sentence for known in ("gzip", "br", "zstd"))
