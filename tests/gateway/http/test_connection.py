"""The server as clients meet it, by bytes: over real sockets, and on each side of every limit."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from kiro_auth.gateway.http import limits, server
from kiro_auth.gateway.http.connection import Connection
from support.doors import KEY, LIMIT, House, client, head, house, post

pytestmark = pytest.mark.outside

HEALTH = head("GET", "/health", key=None)
CHUNKED = head("POST", "/echo", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
QUICK = 0.05


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No bytes of a client may end in a traceback, whatever else a test looks at."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# ------------------------------------------------------------------------------- one after another


@pytest.mark.parametrize(
    "sent", [HEALTH, post("/echo", b"hello"), CHUNKED], ids=["health", "length", "chunks"]
)
async def test_a_request_is_answered_the_same_wherever_it_is_cut(sent: bytes) -> None:
    async with house() as served, client(served.port) as one:
        one.send(sent)
        whole = await one.answer()
        for cut in range(1, len(sent)):
            await one.send_apart([sent[:cut], sent[cut:]])
            assert (await one.answer())[::2] == whole[::2]
        await one.send_apart([bytes([byte]) for byte in sent])
        assert (await one.answer())[::2] == whole[::2]


async def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    async with house() as served, client(served.port) as one:
        bodies = [b"%d" % number for number in range(300)]
        one.send(b"".join(HEALTH + post("/echo", body) for body in bodies))

        for body in bodies:
            assert (await one.answer())[0] == 200
            assert (await one.answer())[2] == body
        one.send(b"\r\n\r\n" + HEALTH)
        assert (await one.answer())[0] == 200
    assert served.activity.open == 0


async def test_whoever_sends_many_requests_and_reads_no_answer_is_not_read_any_more() -> None:
    async with house() as served, client(served.port) as one:
        asked, answer = 3000, 60_000
        one.send(*[head("GET", f"/big/{answer}")] * asked)
        await asyncio.sleep(0.3)
        unread = one._reader._buffer  # type: ignore[attr-defined]  # the client's own
        assert len(unread) < asked * answer / 10

        for _ in range(200):
            assert len((await one.answer())[2]) == answer


async def test_behind_chunks_no_further_request_is_taken_from_the_same_read() -> None:
    async with house() as served, client(served.port) as one:
        one.send(CHUNKED + HEALTH)
        _, headers, body = await one.answer()

        assert (headers["connection"], body) == ("close", b"abcdefg")
        assert await one.rest() == b""


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (head("GET", "/health", "Connection: close"), "close"),
        (b"GET /health HTTP/1.0\r\n\r\n", "close"),
        (b"GET /health HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", "keep-alive"),
        (HEALTH, None),
    ],
)
async def test_a_connection_stays_as_the_client_wants_it(sent: bytes, said: str | None) -> None:
    async with house() as served, client(served.port) as one:
        sent = sent.replace(b"1.0\r\n\r\n", b"1.0\r\nHost: localhost\r\n\r\n")
        one.send(sent)
        status, headers, _ = await one.answer()

        assert (status, headers.get("connection")) == (200, said)
        if said == "close":
            assert await one.rest() == b""
        else:
            one.send(sent)
            assert (await one.answer())[0] == 200


@pytest.mark.parametrize(("version", "ends"), [("1.1", b"0\r\n\r\n"), ("1.0", b"three")])
async def test_a_stream_is_cut_into_chunks_or_ends_with_the_connection(version: str, ends: bytes) -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("GET", "/stream", "Connection: close").replace(b"1.1", version.encode()))
        said = await one.rest()

        assert said.endswith(ends)
        assert b"one " in said.partition(b"\r\n\r\n")[2]


# ------------------------------------------------------------------------------- who is let in


@pytest.mark.parametrize(("key", "first"), [(KEY, 100), ("wrong", 401), (None, 401)])
async def test_a_body_is_asked_for_only_when_its_head_was_let_in(key: str | None, first: int) -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("POST", "/echo", "Expect: 100-continue", "Content-Length: 5", key=key))
        assert (await one.answer())[0] == first

        if first == 100:
            one.send(b"hello")
            assert (await one.answer())[::2] == (200, b"hello")


async def test_nobody_is_asked_for_a_body_that_is_too_large_or_that_nobody_reads() -> None:
    async with house() as served:
        for path, length, status in (("/echo", LIMIT + 1, 413), ("/kiro/retire", 5, 204), ("/no", 5, 404)):
            async with client(served.port) as one:
                one.send(head("POST", path, "Expect: 100-continue", f"Content-Length: {length}"))
                assert (await one.answer())[0] == status
                assert await one.rest() == b""


async def test_of_a_request_that_is_refused_no_body_is_kept_and_its_answer_is_not_lost() -> None:
    bomb = gzip.compress(bytes(40_000_000))
    async with house() as served:
        for body in (bomb, bytes(4_000_000)):
            async with client(served.port) as one:
                one.send(post("/echo", body, "Content-Encoding: gzip", key=None))
                assert (await one.answer())[0] == 401
        async with client(served.port) as one:  # small ones are there already: the connection can stay
            one.send(post("/echo", b"x" * 100, key=None) + post("/echo", b"hello"))
            assert ((await one.answer())[0], (await one.answer())[2]) == (401, b"hello")


async def test_a_body_that_breaks_off_or_goes_wrong_is_told_and_the_connection_ends() -> None:
    async with house() as served:
        for sent in (b"zz\r\n", b"3\r\nabcd\r\n"):
            async with client(served.port) as one:
                await one.send_apart([head("POST", "/echo", "Transfer-Encoding: chunked"), sent])
                status, headers, body = await one.answer()
                assert (status, headers["connection"]) == (400, "close")
                assert b"cannot be read: it is malformed" in body
        async with client(served.port) as one:
            one.send(post("/echo", b"hello")[:-1])
            one.leave()
        async with asyncio.timeout(5):
            while served.activity.open:
                await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------- time and room


async def test_a_head_that_does_not_come_in_time_is_answered_and_the_connection_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", QUICK)
    monkeypatch.setattr(limits, "LINGER_SECONDS", QUICK)
    async with house() as served, client(served.port) as one:
        one.send(head("POST", "/echo")[:-2])
        status, headers, _ = await one.answer()
        assert (status, headers["connection"]) == (408, "close")
        assert await one.rest() == b""


async def test_a_client_that_takes_long_to_send_what_nobody_reads_is_not_cut_before_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most clients read no answer before they have sent all; time passes here only where it is told to."""
    loop, ahead = asyncio.get_running_loop(), 0.0
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began + ahead)
    heard, lost = asyncio.Event(), asyncio.Event()
    for name, event in (("data_received", heard), ("connection_lost", lost)):
        monkeypatch.setattr(Connection, name, and_set(event, getattr(Connection, name)))
    async with house() as served:
        with socket.create_connection(("127.0.0.1", served.port)) as one:
            one.sendall(head("POST", "/echo", f"Content-Length: {LIMIT + 1}"))
            one.setblocking(False)
            assert (await loop.sock_recv(one, 1000)).startswith(b"HTTP/1.1 413 ")
            while not lost.is_set():
                heard.clear()
                await loop.sock_sendall(one, b"x")
                await heard.wait()
                ahead += limits.LINGER_SECONDS / 2
                for _ in range(10):  # turns of the loop, in which the time is told
                    await asyncio.sleep(0)
    assert limits.SILENT_SECONDS <= ahead <= limits.SILENT_SECONDS + 2 * limits.LINGER_SECONDS


def and_set(event: asyncio.Event, method: Callable[..., None]) -> Callable[..., None]:
    """The method, after which the event is set."""

    def called(*arguments: object) -> None:
        method(*arguments)
        event.set()

    return called


async def test_a_connection_that_asks_for_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SILENT_SECONDS", 1.0)  # in which the other one asks, on a busy machine too
    monkeypatch.setattr(limits, "KEPT_SECONDS", QUICK)
    async with house() as served, client(served.port) as silent, client(served.port) as known:
        known.send(post("/echo", b"hello"))
        assert (await known.answer())[0] == 200
        said, rest = await silent.rest(), await known.rest()
        assert (said[:12], b"(KA-GATEWAY)" in said) == (b"HTTP/1.1 503", True), "which is told why"
        assert rest == b"", "and nothing is said that would be taken for the next answer"


async def test_a_body_that_stops_coming_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", QUICK)
    async with house() as served, client(served.port) as one:
        one.send(post("/echo", b"hello")[:-1])
        status, _, body = await one.answer()
        assert (status, b"did not come" in body) == (400, True)


@pytest.mark.clients
async def test_a_client_that_takes_an_answer_slowly_gets_all_of_it_and_one_that_takes_nothing_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 3.0)
    async with house() as served, client(served.port) as slow, client(served.port) as still:
        for one in (slow, still):
            one._reader._limit = 1000  # type: ignore[attr-defined]  # the client's own, so that it reads no more
            one.send(head("GET", "/big/20000000", "Connection: close"))
        got = 0
        while data := await slow._reader.read(500_000):
            got += len(data)
            await asyncio.sleep(0.1)
        assert got > 20_000_000
        await asyncio.sleep(3)
        assert len(await still.rest()) < 20_000_000


async def test_those_without_a_key_are_few_and_shut_nobody_out_who_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_STRANGERS", 8)
    async with house() as served, client(served.port) as known:
        known.send(post("/echo", b"hello"))
        assert (await known.answer())[0] == 200
        crowd = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(240)]

        heard = [asyncio.create_task(reader.read()) for reader, _ in crowd]
        async with asyncio.timeout(10):
            while sum(task.done() for task in heard) < 150:
                await asyncio.sleep(0.02)
        gone = [task.done() for task in heard]
        assert gone == sorted(gone, reverse=True), "the oldest first"
        for task in heard[:150]:
            said = task.result().lower()
            assert said.startswith(b"http/1.1 503 ")
            assert b"retry-after: 1\r\n" in said
            assert b"x-should-retry: true\r\n" in said
            assert b"(ka-gateway)" in said
        known.send(post("/echo", b"hello"))
        assert (await known.answer())[0] == 200
        async with client(served.port) as late:
            late.send(post("/echo", b"hello"))
            assert (await late.answer())[0] == 200
        for _, writer in crowd:
            writer.close()
        await asyncio.gather(*heard, return_exceptions=True)


async def test_no_word_for_those_who_give_way_takes_the_place_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that is told why is open until that is read: a quick crowd would use up all there are."""
    most = 60
    monkeypatch.setattr(server, "most_connections", lambda: 2 * most)
    async with house(tick=limits.LINGER_SECONDS) as served:
        before, crowd, taken = len(os.listdir("/dev/fd")), list[socket.socket](), 0
        for _ in range(5 * most):
            crowd.append(socket.create_connection(("127.0.0.1", served.port), timeout=10))
            await asyncio.sleep(0.001)  # the server takes it
            taken = max(taken, len(os.listdir("/dev/fd")) - before - len(crowd))
        for one in crowd:
            one.close()
    assert most / 2 < taken <= most + 1


async def test_a_crowd_that_asks_late_is_answered_as_the_client_has_much_to_do_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_STRANGERS", 50)
    async with house() as served, AsyncExitStack() as opened:
        crowd = [await opened.enter_async_context(client(served.port)) for _ in range(150)]
        await asyncio.sleep(2 * limits.TIME_TO_ASK)
        for one in crowd:
            one.send(post("/echo", b"hello"))
        assert [(await one.answer())[0] for one in crowd] == [200] * len(crowd)


async def test_a_request_that_is_there_and_was_not_read_yet_is_read_however_late_that_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_STRANGERS", 3)
    monkeypatch.setattr(server, "time_to_ask", lambda *_: 1e-9)
    async with house() as served:
        crowd = []
        for _ in range(100):  # while the server does nothing
            crowd.append(socket.create_connection(("127.0.0.1", served.port), timeout=10))
            crowd[-1].sendall(post("/echo", b"hello"))
        answers = [await asyncio.to_thread(one.recv, 1000) for one in crowd]
        for one in crowd:
            one.close()
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 100


# ------------------------------------------------------------------------------- who leaves, what ends


@pytest.mark.parametrize("path", ["/held", "/pages/held"])
@pytest.mark.parametrize("how", ["closes", "says no more"])
async def test_a_client_that_leaves_ends_its_request_at_once(path: str, how: str) -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("GET", path))
        async with asyncio.timeout(10):
            while not served.held:
                await asyncio.sleep(0.001)
        begun = time.thread_time()  # in which others have no part, as this thread does not rest
        one.leave() if how == "closes" else one.say_no_more()
        async with asyncio.timeout(30):
            while served.held:
                await asyncio.sleep(0)
        assert time.thread_time() - begun < 0.5  # it takes 1 ms
        assert served.activity.open == 0


async def test_a_server_that_ends_lets_answers_under_way_be_written() -> None:
    async with AsyncExitStack() as opened:
        async with house() as served:
            one = await opened.enter_async_context(client(served.port))
            one.send(head("GET", "/held"))
            async with asyncio.timeout(5):
                while not served.held:
                    await asyncio.sleep(0.001)
            asyncio.get_running_loop().call_later(0.05, served.let_go.set)
        status, headers, _ = await one.answer()

    assert (status, headers["connection"]) == (200, "close")


async def test_whoever_waits_when_a_server_ends_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LAST_GRACE", QUICK)
    async with AsyncExitStack() as opened:
        async with house() as served:
            one = await opened.enter_async_context(client(served.port))
            one.send(head("GET", "/held"))
            async with asyncio.timeout(5):
                while not served.held:
                    await asyncio.sleep(0.001)
        _, headers, body = await one.answer()

    assert (b"The gateway was stopped (KA-CUT)." in body, headers["connection"]) == (True, "close")


# ------------------------------------------------------------------------------- the library's pages


async def test_a_page_of_the_library_is_answered_on_a_connection_that_then_ends() -> None:
    async with house() as served:
        for sent in (
            [post("/pages/one", b"hello", "Origin: app://notes")],
            [bytes([byte]) for byte in post("/pages/one", b"hello", "Origin: app://notes")],
            [head("POST", "/pages/one", "Content-Length: 5", "Origin: app://notes"), b"hel", b"lo"],
            [HEALTH + post("/pages/one", b"hello", "Origin: app://notes")],
        ):
            async with client(served.port) as one:
                await one.send_apart(sent)
                if sent[0].startswith(HEALTH):
                    await one.answer()
                status, headers, body = await one.answer()
                assert (status, body, headers["connection"]) == (200, b"owner hello", "close")
                assert headers["access-control-allow-origin"] == "app://notes"
                assert await one.rest() == b""


async def test_behind_a_page_of_the_library_nothing_is_answered_without_being_let_in() -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("GET", "/pages/one") + head("GET", "/pages/one", key=None) * 3)
        said = await one.rest()
        assert said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("path", "key", "status"), [("one", None, 401), ("one", "no", 401), ("none", KEY, 404)]
)
async def test_a_page_is_refused_in_the_shape_of_the_apis(path: str, key: str | None, status: int) -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("GET", f"/pages/{path}", key=key))
        got, _, body = await one.answer()
        assert (got, body.startswith(b'{"type":"error"')) == (status, True)


@pytest.mark.parametrize(
    "sent",
    [
        head("GET", "http://[/pages/one"),
        head("GET", "http://a:99999/pages/one"),
        head("GET", "/pages/one", "Content-Type: a", "Content-Type: b"),
        head("GET", "/pages/%ff"),
    ],
)
async def test_what_the_library_alone_cannot_read_is_answered_as_all_else(
    sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with house() as served, client(served.port) as one:
        one.send(sent)
        status, headers, body = await one.answer()
        assert (status, headers["connection"], "x-request-id" in headers) == (400, "close", True)
        assert body.startswith(b'{"type":"error"')
        assert await one.rest() == b""
    assert (caplog.text, capfd.readouterr().err) == ("", "")


async def test_strangers_whose_requests_the_library_answers_are_as_few_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST_STRANGERS", 3)
    monkeypatch.setattr(server, "time_to_ask", lambda *_: 1e-9)
    async with AsyncExitStack() as opened, house(is_open=True) as served:
        strangers = []
        async with asyncio.timeout(10):
            for number in range(1, 11):
                strangers.append(await opened.enter_async_context(client(served.port)))
                strangers[-1].send(head("POST", "/pages/held", "Content-Length: 9", key=None))
                while served.held != min(number, 3):
                    await asyncio.sleep(0.01)
        assert await strangers[0].rest() == b""
        async with client(served.port) as one:
            one.send(post("/echo", b"hello"))
            assert (await one.answer())[2] == b"hello"
        served.let_go.set()
        assert b"200 OK" in await strangers[-1].rest()


async def test_a_page_that_breaks_off_ends_without_a_second_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with house() as served, client(served.port) as one:
        one.send(head("GET", "/pages/broken-off"))
        said = await one.rest()
        assert (said.count(b"HTTP/1.1 "), said[-5:]) == (1, b"word\n")
    assert caplog.text.count("by a defect of this program") == 1
    caplog.clear()


async def test_pages_that_cannot_be_made_are_made_for_the_next_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, tries = House.pages, iter(({}, {"now": True}))

    def pages(self: House) -> web.Application:
        assert next(tries)["now"]
        return works(self)

    monkeypatch.setattr(House, "pages", pages)
    async with house() as served:
        async with client(served.port) as one:
            one.send(head("GET", "/pages/one"))
            assert b"KA-INTERNAL" in await one.rest()
        async with client(served.port) as one:
            one.send(head("GET", "/pages/one"))
            assert (await one.answer())[0] == 200
        assert served.activity.open == 0
    assert caplog.text.count("by a defect of this program") == 1
    caplog.clear()


async def test_a_defect_of_a_handler_is_answered_as_one(caplog: pytest.LogCaptureFixture) -> None:
    async with house() as served, client(served.port) as one:
        for path in ("/big/none", "/odd"):
            one.send(head("GET", path))
            status, _, body = await one.answer()
            assert (status, b"KA-INTERNAL" in body) == (424, True)  # which clients do not repeat
        assert served.activity.open == 0
    assert caplog.text.count("by a defect of this program") == 2
    caplog.clear()


# ------------------------------------------------------------------------------- whatever else comes


async def test_any_bytes_are_answered_or_not_but_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    chance = random.Random(16)
    sound = [HEALTH, post("/echo", b"hello"), CHUNKED, head("GET", "/stream"), head("GET", "/pages/one")]
    async with house() as served:
        for _ in range(400):
            sent = bytearray(b"".join(chance.choices(sound, k=chance.randint(1, 3))))
            for _ in range(chance.randint(0, 6)):
                at = chance.randrange(len(sent))
                sent[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
            cuts = sorted(chance.choices(range(len(sent)), k=2))
            async with client(served.port) as one:
                one.send(bytes(sent[: cuts[0]]))
                await asyncio.sleep(0)
                one.send(bytes(sent[cuts[0] : cuts[1]]))
                await asyncio.sleep(0)
                one.send(bytes(sent[cuts[1] :]))
                one.say_no_more()
                await one.rest()
        assert served.activity.open == 0
        async with client(served.port) as one:
            one.send(HEALTH)
            assert (await one.answer())[0] == 200
    assert "Traceback" not in caplog.text


async def test_the_log_has_a_line_for_many_requests_that_cannot_be_read(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(server, "QUIET_SECONDS", 600.0)
    async with house() as served:
        for _ in range(200):
            async with client(served.port) as one:
                one.send(b"no request with a secret\r\n\r\n")
                assert (await one.answer())[0] == 400
    lines = [record.getMessage() for record in caplog.records if record.name == "kiro_auth.server"]
    assert lines == [
        "a request could not be read: Invalid method encountered",
        "199 more requests could not be read, the last one: Invalid method encountered",
    ]
