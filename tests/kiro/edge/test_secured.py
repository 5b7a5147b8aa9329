"""TLS without I/O: a server of Python's own at the other end of two lists of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from functools import partial
from typing import Any, cast

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.edge.secured import Buffers, Secured
from support.counting import calls
from support.holding import allocated

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
CERTIFICATE = AUTHORITY.issue_cert("service.example", key_type=trustme.KeyType.ECDSA)
BUFFERS = Buffers()
FOUR_RECORDS = 4 * 16 * 1024


class Wire:
    """The transport below, which takes everything."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.writes = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes += 1
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
        self.wrap = partial(trusting.wrap_bio, server_hostname=host)
        self.client = Secured(self.above, self.wrap, BUFFERS)
        self.client.connection_made(cast("Any", self.wire))

    def give(self, data: bytes, cuts: list[int]) -> None:
        """Give the client these bytes, as reads that end there."""
        ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
        for begin, end in zip([0, *ends], ends, strict=False):
            if piece := data[begin:end]:
                self.client.data_received(piece)

    def say(self, data: bytes, cuts: list[int]) -> None:
        """Have the server send this."""
        if data:
            self.server.write(data)
            self.give(self.outgoing.read(), cuts)

    def taken(self) -> bytes:
        """What the server was sent meanwhile."""
        self.incoming.write(bytes(self.wire.sent))
        self.wire.sent.clear()
        read = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.server.read(1 << 20):
                read += piece
        return read

    def shake_hands(self, cuts: list[int]) -> None:
        for _ in range(4):
            self.answer_once(cuts)

    def answer_once(self, cuts: list[int]) -> None:
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
    pair.wire.writes = 0
    pair.client.write(memoryview(said))
    pair.incoming.write(bytes(pair.wire.sent))
    heard = b""
    while len(heard) < len(said):
        heard += pair.server.read(1 << 20)

    assert heard == said
    assert pair.wire.writes == -(-len(said) // FOUR_RECORDS)


async def test_no_more_than_four_records_wait_in_the_buffer_of_all_connections() -> None:
    pair = Pair()
    pair.shake_hands([])
    written: list[int] = []
    pair.wire.write = lambda data: written.append(len(data))  # type: ignore[method-assign]
    pair.client.write(memoryview(bytes(10 * FOUR_RECORDS)))

    assert len(written) == 10
    assert FOUR_RECORDS < max(written) < FOUR_RECORDS + 200
    assert not BUFFERS.outgoing.pending


async def test_a_line_that_breaks_while_a_long_body_is_written_is_written_to_no_more() -> None:
    pair = Pair()
    pair.shake_hands([])
    written: list[int] = []

    def broken(data: bytes) -> None:
        written.append(len(data))
        pair.wire.close()

    pair.wire.write = broken  # type: ignore[method-assign]
    pair.client.write(memoryview(bytes(10 * FOUR_RECORDS)))

    assert len(written) == 1
    assert not BUFFERS.outgoing.pending


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


async def test_an_end_that_the_other_side_did_not_say_is_none_as_anybody_on_the_way_can_make_one() -> None:
    pair = Pair()
    pair.shake_hands([])
    pair.say(b"the first words", [])
    pair.client.connection_lost(None)

    assert pair.above.heard == b"the first words"
    assert [type(error) for error in pair.above.lost] == [ConnectionResetError]


async def test_a_long_read_that_is_no_tls_fails_once() -> None:
    class Failing(Secured):
        failures = 0

        def _fail(self, error: Exception) -> None:
            self.failures += 1

    context, wire = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), Wire()
    secured = Failing(Above(), partial(context.wrap_bio, server_hostname="service.example"), BUFFERS)
    secured.connection_made(cast("Any", wire))
    secured.data_received(b"GET / HTTP/1.1\r\n" * 10_000)

    assert (secured.failures, wire.closed) == (1, True)


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


async def test_what_one_connection_leaves_unread_is_nothing_that_another_reads() -> None:
    ended, other = Pair(), Pair()
    for pair in (ended, other):
        pair.shake_hands([])
    ended.server.write(b"the last words")
    with pytest.raises(ssl.SSLWantReadError):
        ended.server.unwrap()
    ended.give(ended.outgoing.read() + b"anything at all", [])
    other.server.write(b"an event")
    other.give(other.outgoing.read(), [])

    assert [bytes(pair.above.heard) for pair in (ended, other)] == [b"the last words", b"an event"]
    assert (ended.wire.closed, other.wire.closed) == (True, False)


async def test_an_error_of_what_hears_of_a_connection_leaves_nothing_that_another_reads() -> None:
    failing, other = Pair(), Pair()

    def fail(_: asyncio.BaseTransport) -> None:
        raise RuntimeError("a defect")

    failing.above.connection_made = fail  # type: ignore[method-assign]
    failing.incoming.write(bytes(failing.wire.sent))
    with contextlib.suppress(ssl.SSLWantReadError):
        failing.server.do_handshake()
    with pytest.raises(RuntimeError):
        failing.give(failing.outgoing.read() + b"anything at all", [])
    other.shake_hands([])
    other.server.write(b"an event")
    other.give(other.outgoing.read(), [])

    assert bytes(other.above.heard) == b"an event"


async def test_what_is_written_behind_damage_raises_nothing_and_ends_it() -> None:
    pair = Pair()
    pair.shake_hands([])
    pair.server.write(b"a question")
    good = pair.outgoing.read()
    pair.server.write(b"another one")
    damaged = pair.outgoing.read()[:-1] + b"?"
    pair.above.data_received = lambda _: pair.client.write(b"an answer")  # type: ignore[method-assign,assignment]
    pair.give(good + damaged, [])
    pair.client.connection_lost(None)

    assert pair.wire.closed
    assert [type(error) for error in pair.above.lost] == [ssl.SSLError]


async def test_handshakes_and_records_of_two_connections_that_come_in_turns_are_kept_apart() -> None:
    pairs = Pair(), Pair()
    for _ in range(4):
        for pair in pairs:
            pair.answer_once([7, 100, 600])
    for pair, said in zip(pairs, (b"a" * 3000, b"b" * 3000), strict=True):
        pair.server.write(said)
    halves = [(wire[:1700], wire[1700:]) for wire in (pair.outgoing.read() for pair in pairs)]
    for half in range(2):
        for pair, wire in zip(pairs, halves, strict=True):
            pair.give(wire[half], [])

    assert [bytes(pair.above.heard) for pair in pairs] == [b"a" * 3000, b"b" * 3000]


@given(st.binary(min_size=1, max_size=40_000), st.binary(min_size=1, max_size=40_000), Cuts)
async def test_a_connection_within_another_shares_its_buffers(
    asked: bytes, said: bytes, cuts: list[int]
) -> None:
    """As behind a proxy that is spoken to under TLS: each read and write passes through both."""
    outer, inner = Pair(), Pair()
    inner.client = Secured(inner.above, inner.wrap, BUFFERS)
    for _ in range(4):
        outer.answer_once(cuts)
    outer.client.set_protocol(inner.client)
    inner.client.connection_made(outer.client)
    for _ in range(4):
        inner.incoming.write(outer.taken())
        with contextlib.suppress(ssl.SSLWantReadError):
            inner.server.do_handshake()
        outer.say(inner.outgoing.read(), cuts)
    inner.client.write(asked)
    inner.incoming.write(outer.taken())
    heard = b""
    while len(heard) < len(asked):
        heard += inner.server.read(1 << 20)
    inner.server.write(said)
    outer.say(inner.outgoing.read(), cuts)

    assert (heard, bytes(inner.above.heard)) == (asked, said)
    assert (BUFFERS.incoming.pending, BUFFERS.outgoing.pending) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only its C library tells what it has given out")
async def test_a_silent_connection_holds_no_buffer_whatever_came_and_went_before() -> None:
    """OpenSSL takes 16 KB to write into when it is given sessions, which may come with the first answer."""
    pairs = [Pair() for _ in range(20)]
    for pair in pairs:
        pair.answer_once([])
        pair.incoming.write(bytes(pair.wire.sent))
        pair.server.do_handshake()
        sessions = pair.outgoing.read()
        pair.outgoing.write(bytes(100_000))  # the server's own buffer keeps its size
        pair.outgoing.read()
        pair.outgoing.write(sessions)
    bare = allocated()
    for pair in pairs:
        pair.client.write(bytes(50_000))
        pair.wire.sent = bytearray()
        pair.server.write(bytes(50_000))
        pair.give(pair.outgoing.read(), [])
        assert pair.above.heard == bytes(50_000)
        pair.above.heard = bytearray()

    assert (allocated() - bare) / len(pairs) < 4_000
