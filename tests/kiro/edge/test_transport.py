"""One connection without a socket: whatever way an answer's bytes are cut, and wherever they end."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.kiro.edge.answer import MOST_WAITING, Answer, LineFailed
from kiro_auth.kiro.edge.connecting import Place
from kiro_auth.kiro.edge.transport import Connection
from support.patient import patiently

BODY = b"The quick brown fox jumps over the lazy dog."
CHUNKED = b"HTTP/1.1 200 OK\r\nX-Amzn-RequestId: r-1\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


PACKED = gzip.compress(BODY)
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n" + BODY,
    "chunks": CHUNKED + chunks(BODY[:10], BODY[10:11], BODY[11:]),
    "trailer": CHUNKED + chunks(BODY)[:-2] + b"X-Late: yes\r\n\r\n",
    "early hints": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    + CHUNKED
    + chunks(BODY),
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    % (len(PACKED), PACKED),
    "deflate": b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunks(zlib.compress(BODY)),
}


class Wire:
    """The transport of a connection, which notes what is done to it."""

    def __init__(self) -> None:
        self.sent = b""
        self.takes: int | None = None
        self.reading = True
        self.connection: Connection

    def write(self, data: bytes) -> None:
        self.sent += data
        if self.takes is not None and len(self.sent) >= self.takes:
            self.connection.pause_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return self.connection.lost

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.connection.lost:
            self.connection.connection_lost(None)


HOST = Place("https", "host", 443)


class Stage:
    """A connection that has sent a request, and what comes of it."""

    def __init__(self, silence: float = 60.0) -> None:
        self.free: list[Connection] = []
        self.lost: list[Connection] = []
        self.wire = Wire()
        self.wire.connection = self.connection = Connection(HOST, self)
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]
        self.asked = asyncio.ensure_future(self.connection.ask(b"head", b"body", silence))

    def on_free(self, connection: Connection) -> None:
        self.free.append(connection)

    def on_lost(self, connection: Connection) -> None:
        self.lost.append(connection)

    async def answer(self) -> Answer:
        return await self.asked

    async def all(self) -> bytes:
        answer, parts = await self.answer(), []
        while data := await answer.read():
            parts.append(data)
        answer.close()
        return b"".join(parts)


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 5))


@pytest.mark.parametrize("kind", ANSWERS)
@given(data=st.data())
def test_however_the_bytes_are_cut_the_answer_is_the_same(kind: str, data: st.DataObject) -> None:
    sent = ANSWERS[kind]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=12)))
    flows = data.draw(st.booleans())

    async def scene() -> None:
        stage = Stage()
        taken: list[bytes] = []
        await asyncio.sleep(0)
        reading = asyncio.ensure_future(flowing(stage, taken) if flows else stage.all())
        for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            if sent[begin:end]:
                stage.connection.data_received(sent[begin:end])
            await asyncio.sleep(0)
        assert (await reading or b"".join(taken)) == BODY
        assert (stage.free, stage.lost) == ([stage.connection], [])

    run(scene())


async def flowing(stage: Stage, taken: list[bytes]) -> None:
    answer = await stage.answer()
    await answer.flow(lambda data: not taken.append(data))
    answer.close()


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["FIN", "RST"])
def test_a_line_that_ends_at_any_byte_is_broken_and_never_a_shorter_answer(
    kind: str, error: Exception | None
) -> None:
    sent = ANSWERS[kind]

    async def scene(length: int) -> None:
        stage = Stage()
        await asyncio.sleep(0)
        if length:
            stage.connection.data_received(sent[:length])
        stage.connection.connection_lost(error)
        with pytest.raises(LineFailed) as raised:
            await stage.all()
        assert raised.value.fault == "broken"
        assert (stage.free, stage.lost) == ([], [stage.connection])

    async def scenes() -> None:
        for length in range(len(sent)):
            await scene(length)

    run(scenes())


@pytest.mark.parametrize(
    ("head", "error", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None, True),
        (b"HTTP/1.0 200 OK\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", ConnectionResetError(), False),
    ],
    ids=["1.1", "1.0", "reset"],
)
async def test_an_answer_without_a_length_ends_with_the_line(
    head: bytes, error: Exception | None, whole: bool
) -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(head + BODY)
    stage.connection.connection_lost(error)
    if whole:
        assert await stage.all() == BODY
    else:
        with pytest.raises(LineFailed):
            await stage.all()
    assert stage.free == []


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3000,
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 44\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + PACKED[:30],
    ],
    ids=[
        *("no HTTP", "another protocol", "a head too large", "hints without end"),
        *("no chunk", "not packed", "packed and cut"),
    ],
)
async def test_what_is_no_answer_breaks_the_line(sent: bytes) -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(sent)
    with pytest.raises(LineFailed) as raised:
        await stage.all()
    assert raised.value.fault == "broken"
    assert stage.lost


async def test_what_came_whole_before_the_damage_in_one_read_is_given_first() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(CHUNKED + chunks(BODY)[:-5] + b"no chunk\r\n")
    answer = await stage.answer()

    assert await answer.read() == BODY
    with pytest.raises(LineFailed):
        await answer.read()


@pytest.mark.parametrize("behind", [PACKED, b"x", bytes(1000)], ids=["another", "a byte", "zeros"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_stands_behind_a_packed_answer_breaks_the_line_and_is_not_kept(
    behind: bytes, at_once: bool
) -> None:
    stage = Stage()
    await asyncio.sleep(0)
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    if at_once:
        stage.connection.data_received(head + chunks(PACKED + behind))
    else:
        stage.connection.data_received(head + chunks(PACKED)[:-5])
        stage.connection.data_received(chunks(behind)[:-5])
    answer = await stage.answer()

    assert await answer.read() == BODY
    with pytest.raises(LineFailed):
        await answer.read()
    assert stage.lost


async def test_a_head_that_comes_in_drops_has_an_end() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(70):
        assert not stage.asked.done()
        stage.connection.data_received(b"x" * 1000)
        await asyncio.sleep(0)
        if stage.lost:
            break
    with pytest.raises(LineFailed):
        await stage.all()


async def test_an_offer_of_another_protocol_is_no_trouble() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    offer = b"Upgrade: h2,h2c\r\nConnection: Upgrade, Keep-Alive\r\n"
    stage.connection.data_received(b"HTTP/1.1 200 OK\r\n" + offer + b"Content-Length: 44\r\n\r\n" + BODY)
    assert await stage.all() == BODY


async def test_a_line_that_is_gone_before_it_is_asked_refuses() -> None:
    stage = Stage()
    stage.asked.cancel()
    stage.connection.connection_lost(None)
    with pytest.raises(LineFailed) as raised:
        async with asyncio.timeout(1):
            await stage.connection.ask(b"head", b"body", 60.0)
    assert raised.value.fault == "refused"


@pytest.mark.parametrize(
    "more",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
        b"HTTP/1.1 2",
        b"H",
        b"rubbish",
    ],
    ids=["an answer", "part of a head", "part of a status", "one byte", "rubbish"],
)
async def test_a_line_on_which_more_comes_than_was_asked_for_is_not_used_again(more: bytes) -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(ANSWERS["length"] + more)
    assert await stage.all() == BODY
    assert (stage.free, stage.lost) == ([], [stage.connection])


async def test_an_answer_that_is_closed_has_no_hold_of_the_line_any_more() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(ANSWERS["length"])
    first = await stage.answer()
    assert await first.read() == BODY
    first.close()
    first.close()
    assert stage.free == [stage.connection]

    second = asyncio.ensure_future(stage.connection.ask(b"head", b"body", 60.0))
    await asyncio.sleep(0)
    first.pause()
    first.close()
    assert stage.wire.reading
    assert not stage.lost
    stage.connection.data_received(ANSWERS["length"])
    assert await (await second).read() == BODY


async def test_what_comes_behind_an_answer_is_seen_while_nobody_reads() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    size = 2 * MOST_WAITING
    stage.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    answer = await stage.answer()
    answer.pause()
    assert stage.wire.reading
    stage.connection.data_received(ANSWERS["length"])
    assert len(await answer.read()) == size
    answer.close()
    assert (stage.free, stage.lost) == ([], [stage.connection])


@pytest.mark.parametrize("header", [b"Connection: close\r\n", b""])
async def test_a_line_stays_when_both_sides_say_so(header: bytes) -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(b"HTTP/1.1 200 OK\r\n" + header + b"Content-Length: 44\r\n\r\n" + BODY)
    await stage.all()
    assert bool(stage.free) is not bool(header)


async def test_who_does_not_read_stops_the_line_and_who_reads_starts_it() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(CHUNKED)
    answer = await stage.answer()
    part = b"%x\r\n%b\r\n" % (MOST_WAITING, b"x" * MOST_WAITING)
    stage.connection.data_received(part)
    assert not stage.wire.reading
    assert len(await answer.read()) == MOST_WAITING
    assert stage.wire.reading
    answer.close()


async def test_a_line_that_was_stopped_stays_so_while_what_waited_is_given() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    stage.connection.data_received(CHUNKED + b"1\r\nx\r\n")
    answer = await stage.answer()
    answer.pause()
    flow = asyncio.ensure_future(answer.flow(lambda _: True))
    await asyncio.sleep(0)
    assert not stage.wire.reading
    answer.resume()
    assert stage.wire.reading
    stage.connection.data_received(b"0\r\n\r\n")
    await flow
    answer.close()


async def test_one_read_is_one_piece_however_many_chunks_it_holds() -> None:
    stage = Stage()
    await asyncio.sleep(0)
    taken: list[bytes] = []
    flow = asyncio.ensure_future(flowing(stage, taken))
    stage.connection.data_received(CHUNKED)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    stage.connection.data_received(chunks(b"a", b"b", b"c"))
    await flow
    assert taken == [b"abc"]


async def test_a_sink_that_wants_no_more_gets_no_more_and_its_mistake_is_its_reader_s() -> None:
    async def mistaken(_: Stage, answer: Answer) -> None:
        with pytest.raises(ZeroDivisionError):
            await answer.flow(lambda data: bool(1 // 0))

    async def satisfied(_: Stage, answer: Answer) -> None:
        taken: list[bytes] = []
        await answer.flow(lambda data: bool(taken.append(data)))
        assert taken == [b"a"]

    for reader in (mistaken, satisfied):
        stage = Stage()
        await asyncio.sleep(0)
        stage.connection.data_received(CHUNKED)
        answer = await stage.answer()
        reading = asyncio.ensure_future(reader(stage, answer))
        await asyncio.sleep(0)
        for part in (b"1\r\na\r\n", b"1\r\nb\r\n"):
            stage.connection.data_received(part)
        await reading
        answer.close()
        assert stage.lost


def test_silence_is_counted_from_the_last_byte_and_not_while_nobody_reads() -> None:
    async def scene() -> None:
        stage = Stage(silence=60)
        await asyncio.sleep(0)
        stage.connection.data_received(CHUNKED)
        answer = await stage.answer()
        for _ in range(3):
            await asyncio.sleep(59)
            stage.connection.data_received(b"1\r\nx\r\n")
            assert await answer.read() == b"x"
        answer.pause()
        await asyncio.sleep(200)
        answer.resume()
        await asyncio.sleep(59)
        assert not stage.lost
        with pytest.raises(LineFailed) as raised:
            await answer.read()
        assert raised.value.fault == "silent"

    patiently(scene())


def test_a_complete_answer_stays_whole_however_late_it_is_read() -> None:
    async def scene() -> None:
        stage = Stage(silence=60)
        await asyncio.sleep(0)
        stage.connection.data_received(ANSWERS["chunks"])
        await asyncio.sleep(300)
        assert await stage.all() == BODY
        assert stage.free == [stage.connection]

    patiently(scene())


async def test_a_long_body_is_sent_as_it_is_taken_and_one_that_was_not_leaves_no_line() -> None:
    body = bytes(range(256)) * 4096
    stages = [Stage(), Stage()]
    for stage in stages:
        stage.asked.cancel()
        stage.wire.takes = 200_000
        stage.asked = asyncio.ensure_future(stage.connection.ask(b"head", body, 60.0))
    await asyncio.sleep(0)
    taken, refused = stages
    assert len(taken.wire.sent) < 300_000
    while len(taken.wire.sent) < len(body):
        taken.wire.takes = len(taken.wire.sent) + 200_000
        taken.connection.resume_writing()
    assert taken.wire.sent == b"head" + body

    for stage in stages:
        stage.connection.data_received(ANSWERS["length"])
        assert await stage.all() == BODY
    assert (taken.free, refused.free) == ([taken.connection], [])
