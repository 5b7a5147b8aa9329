"""TLS without I/O: a server of Python's own at the other end of two lists of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from functools import partial
from typing import Any, cast

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.edge.secured import Secured
from support.counting import calls

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
CERTIFICATE = AUTHORITY.issue_cert("service.example", key_type=trustme.KeyType.ECDSA)


class Wire:
    """The transport below, which takes everything."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


class Above(asyncio.Protocol):
    """What uses the connection."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.reads: list[int] = []
        self.made = 0
        self.lost: list[Exception | None] = []

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        self.made += 1

    def data_received(self, data: bytes) -> None:
        self.heard += data
        self.reads.append(len(data))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.append(error)


class Pair:
    """A client of ours, not connected yet, and a server."""

    def __init__(self, host: str = "service.example") -> None:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        AUTHORITY.configure_trust(trusting)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        CERTIFICATE.configure_cert(serving)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = serving.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.above, self.wire = Above(), Wire()
        self.client = Secured(self.above, partial(trusting.wrap_bio, server_hostname=host))
        self.client.connection_made(cast("Any", self.wire))

    def give(self, data: bytes, cuts: list[int]) -> None:
        """Give the client these bytes, as reads that end there."""
        ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
        for begin, end in zip([0, *ends], ends, strict=False):
            if piece := data[begin:end]:
                self.client.data_received(piece)

    def shake_hands(self, cuts: list[int]) -> None:
        for _ in range(4):
            self.incoming.write(bytes(self.wire.sent))
            self.wire.sent.clear()
            with contextlib.suppress(ssl.SSLWantReadError):
                self.server.do_handshake()
            self.give(self.outgoing.read(), cuts)


Cuts = st.lists(st.integers(0, 1 << 16), max_size=6)


@given(st.binary(min_size=1, max_size=40_000), Cuts)
async def test_what_is_read_does_not_depend_on_how_the_bytes_are_cut(said: bytes, cuts: list[int]) -> None:
    pair = Pair()
    pair.shake_hands(cuts)
    await pair.client.ready()
    pair.server.write(said)
    pair.give(pair.outgoing.read(), cuts)

    assert (pair.above.made, bytes(pair.above.heard)) == (1, said)
    assert not pair.wire.closed


@given(st.binary(min_size=1, max_size=100_000))
async def test_what_is_written_arrives(said: bytes) -> None:
    pair = Pair()
    pair.shake_hands([])
    pair.client.write(memoryview(said))
    pair.incoming.write(bytes(pair.wire.sent))
    heard = b""
    while len(heard) < len(said):
        heard += pair.server.read(1 << 20)

    assert heard == said


@given(st.integers(0, 1 << 16), st.integers(1, 255), Cuts)
async def test_a_byte_that_was_changed_ends_it_with_an_error_and_is_not_passed_on(
    where: int, change: int, cuts: list[int]
) -> None:
    pair = Pair()
    pair.shake_hands([])
    pair.outgoing.read()
    pair.server.write(b"a" * 3000)
    wire = bytearray(pair.outgoing.read())
    wire[5 + where % (len(wire) - 5)] ^= change  # behind the length, without which more would be waited for
    pair.give(bytes(wire), cuts)
    pair.client.connection_lost(None)

    assert pair.above.heard == b""
    assert pair.wire.closed
    assert [type(error) for error in pair.above.lost] == [ssl.SSLError]


@pytest.mark.parametrize("behind", [b"", b"anything at all"])
async def test_the_end_that_the_other_side_says_is_a_clean_one(behind: bytes) -> None:
    pair = Pair()
    pair.shake_hands([])
    pair.server.write(b"the last words")
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    pair.give(pair.outgoing.read() + behind, [])
    pair.client.connection_lost(None)

    assert pair.above.heard == b"the last words"
    assert pair.wire.closed
    assert pair.above.lost == [None]


async def test_a_certificate_for_another_host_is_told_before_anything_is_said() -> None:
    pair = Pair("another.example")
    with pytest.raises(ssl.SSLError, match="BAD_CERTIFICATE"):  # the server is told why
        pair.shake_hands([])

    with pytest.raises(ssl.SSLCertVerificationError):
        await pair.client.ready()
    assert pair.wire.closed
    assert (pair.above.made, pair.above.lost) == (0, [])


async def test_a_connection_that_ends_before_it_is_secured_is_told_to_who_waits() -> None:
    pair = Pair()
    pair.client.connection_lost(None)

    with pytest.raises(ConnectionResetError):
        await pair.client.ready()
    assert (pair.above.made, pair.above.lost) == (0, [])


async def test_a_connection_that_nobody_waits_for_any_more_is_closed() -> None:
    pair = Pair()
    waiting = asyncio.create_task(pair.client.ready())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    pair.shake_hands([])

    assert pair.wire.closed
    assert pair.above.made == 0


async def test_the_records_of_one_read_are_passed_on_as_one() -> None:
    pair = Pair()
    pair.shake_hands([])
    for size in (1, 30, 16_000, 500):
        pair.server.write(b"a" * size)
    pair.give(pair.outgoing.read(), [])

    assert pair.above.reads == [16_531]


async def test_a_read_of_one_record_costs_few_calls() -> None:
    pair = Pair()
    pair.shake_hands([])
    costs = []
    for _ in range(2):
        pair.server.write(b"an event")
        costs.append(calls(partial(pair.client.data_received, pair.outgoing.read())))

    assert pair.above.heard == b"an event" * 2
    assert costs[-1] < 12  # two of them are of the test
