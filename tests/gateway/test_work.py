"""What an event, a read and a request cost, counted: calls of Python's and of C functions, timers, tasks.

Times depend on the machine, these figures do not: a change that makes the path longer shows here.  Each limit
is a little above what it takes today; whoever needs more raises it, and says why.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from kiro_auth import texts
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.front import Front
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.connection import Connection as ServerConnection
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.server import Server
from kiro_auth.gateway.http.site import Route, Waiting
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.log_file import log_to
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.proof import Prover
from kiro_auth.gateway.reply import reply_to
from kiro_auth.gateway.turn_lines import TurnLines
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.connecting import Place
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.transport import Connection
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.schema import values_of
from kiro_auth.store.files import ACCOUNTS
from kiro_auth.surfaces.surface import Surface
from support.counting import calls, counting
from support.doors import known
from support.exchange import Step
from support.frames import END, text
from support.relaying import Gateway
from support.turns import turn_ended

EVENTS = 1000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100_000},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
}


def body(path: str) -> bytes:
    return json.dumps({"model": "claude-sonnet-4-5", "stream": True, **BODIES[path]}).encode()


def started(path: str) -> Pipe:
    """A stream that has said its first word."""
    surface: Surface = SURFACES[path]
    conversation = surface.decode(body(path), {})
    model = resolve(conversation.model, ()).model
    options = payload.Options(model=model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)
    reply = reply_to(
        conversation,
        surface,
        payload.build(conversation, options),
        context_window=200_000,
        request_id="r-1",
        reply_id="0" * 32,
        created=0,
    )
    reply.feed(text("Hello"))
    return Pipe(reply, patience=60)


@pytest.mark.parametrize("path", BODIES)
def test_an_event_among_many_of_one_read_costs_few_calls(path: str) -> None:
    pipe = started(path)
    read = b"".join(text(f" word{number % 10}") for number in range(EVENTS))
    pipe.data(read)

    assert calls(lambda: pipe.data(read)) / EVENTS < 6


@pytest.mark.parametrize("path", BODIES)
def test_an_event_alone_costs_few_calls(path: str) -> None:
    pipe = started(path)
    read = text(" word")
    pipe.data(read)

    assert calls(lambda: pipe.data(read)) < 33


class Wire:
    """A transport that takes everything."""

    def write(self, _: bytes) -> None:
        pass

    def abort(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def is_closing(self) -> bool:
        return False


async def test_a_read_costs_neither_a_task_nor_a_timer_nor_another_turn_of_the_loop() -> None:
    connection = Connection(Place("https", "host", 443), Lines(Trust()))
    connection.connection_made(Wire())  # type: ignore[arg-type]
    asking = asyncio.ensure_future(connection.ask(b"", b"", 60.0))
    await asyncio.sleep(0)
    connection.data_received(HEAD)
    answer = await asking
    pipe, written = started("/v1/messages"), [b""]

    def sink(data: bytes) -> bool:
        written.append(pipe.data(data))
        return True

    flowing = asyncio.ensure_future(answer.flow(sink))
    await asyncio.sleep(0)
    read = b"%x\r\n%b\r\n" % (len(text(" word")), text(" word"))
    connection.data_received(read)
    loop: Any = asyncio.get_running_loop()
    planned = len(loop._ready), len(loop._scheduled)

    cost = calls(lambda: connection.data_received(read))

    assert (len(loop._ready), len(loop._scheduled)) == planned
    assert written[-1].count(b" word") == 1
    assert cost < 40
    flowing.cancel()
    answer.close()
    connection.connection_lost(None)


@pytest.mark.parametrize("path", BODIES)
def test_a_short_request_costs_few_calls(path: str) -> None:
    raw, surface = body(path), SURFACES[path]
    model = resolve("claude-sonnet-4-5", ()).model
    options = payload.Options(model=model, protocol="rpc", origin="KIRO_CLI", profile_arn=None)

    def work() -> None:
        payload.build(surface.decode(raw, {}), options)

    work()
    assert calls(work) < 150


@contextmanager
def tracing() -> Iterator[Callable[[], int]]:
    """How many bytes Python has allocated in the block and not given back."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: (gc.collect(), tracemalloc.get_traced_memory()[0])[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("path", "limit"), [*zip(BODIES, (1_800, 1_900, 3_000), strict=True)])
def test_the_reply_of_a_silent_stream_holds_little(path: str, limit: int) -> None:
    started(path)
    with tracing() as held:
        streams = [started(path) for _ in range(50)]
        assert held() / len(streams) < limit


async def test_the_call_of_a_silent_stream_holds_little() -> None:
    """With the words of its answer that a client has had, and without TLS and the socket below."""
    lines, place = Lines(Trust()), Place("https", "host", 443)

    async def silent() -> tuple[Connection, asyncio.Future[None]]:
        connection = Connection(place, lines)
        connection.connection_made(Wire())  # type: ignore[arg-type]
        asking = asyncio.ensure_future(connection.ask(b"", b"", 60.0))
        await asyncio.sleep(0)
        connection.data_received(HEAD + b"".join(b"5\r\nabcde\r\n" for _ in range(100)))
        flowing = asyncio.ensure_future((await asking).flow(bool))
        await asyncio.sleep(0)
        return connection, flowing

    first = [await silent()]
    with tracing() as held:
        streams = [await silent() for _ in range(50)]
        assert held() / len(streams) < 3_600
    for connection, flowing in first + streams:
        flowing.cancel()
        connection.connection_lost(None)


class Line(asyncio.Transport):
    """A client's connection that takes everything, and counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def serving(waiting: Waiting) -> Server:
    """A server that has one route, and the one that every program asks first."""
    guard = Guard(key="the-key", prover=Prover("s", "127.0.0.1", 1))
    presence = Presence(guard, knows_accounts=known)
    routes = Routes({**presence.routes(), "POST /v1/messages": Route(waiting=waiting, limit=MAX_BODY)})
    library = Library(web_application, lambda _: False)
    return Server(Front(guard, Activity(), routes, library), Wheel(), library)


def connected(server: Server) -> tuple[ServerConnection, Line]:
    """A connection of it."""
    connection, line = server.connection(), Line()
    connection.connection_made(line)
    return connection, line


async def web_application() -> Any:
    pytest.fail("nobody asked for a page of the library")


def sent(method: str, path: str, content: bytes = b"") -> bytes:
    lines = (
        f"{method} {path} HTTP/1.1", "Host: localhost", "User-Agent: claude-cli/2.1", "Accept: */*",
        "x-api-key: the-key", "Content-Type: application/json", f"Content-Length: {len(content)}",
    )  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + content


async def test_what_the_server_adds_to_a_request_costs_few_calls_and_one_write() -> None:
    async def handle(request: Request) -> Response:
        return Response(await read_body(request))

    connection, line = connected(serving(handle))
    asks, health = sent("POST", "/v1/messages", b"{}"), sent("GET", "/health")
    connection.data_received(health)
    line.written.clear()

    assert calls(lambda: connection.data_received(health)) < 120
    assert len(line.written) == 1
    cost = calls(lambda: connection.data_received(asks))
    task = connection.task
    assert task is not None
    await task
    assert cost < 119
    assert len(line.written) == 2


async def test_what_stands_behind_a_silent_stream_holds_little(tmp_path: Path) -> None:
    """From the client's connection to the reply, with a head as clients send it."""
    silent: list[Step] = [text("Hello"), asyncio.Event()]
    gateway = Gateway(tmp_path, *[silent] * 16, accounts="abcd")
    server = serving(partial(gateway.relay.answer, surface=SURFACES["/v1/messages"]))
    asks = sent("POST", "/v1/messages", body("/v1/messages"))
    asks = asks.replace(b"Accept", b"X-Long: " + b"a" * 2000 + b"\r\nAccept")

    async def stream() -> ServerConnection:
        connection, line = connected(server)
        connection.data_received(asks)
        async with asyncio.timeout(5):
            while not line.written:
                await asyncio.sleep(0)
        line.written.clear()
        gateway.service.sent.clear()
        return connection

    streams = [await stream() for _ in range(8)]
    with tracing() as held:
        more = [await stream() for _ in range(8)]
        assert held() / len(more) < 12_000
    for connection in streams + more:
        connection.connection_lost(None)
    await asyncio.gather(*(c.task for c in streams + more if c.task), return_exceptions=True)


def test_a_streamed_answer_costs_few_calls_in_all_and_one_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a service that answers at once, so that what the lines to the real one cost is not in it."""
    caplog.set_level(logging.WARNING, logger="kiro_auth")  # whatever a test before has left
    hello: list[Step] = [text("Hello") + text(" word") * 8 + END]

    async def prepared() -> tuple[ServerConnection, Line]:
        gateway = Gateway(tmp_path, *[hello] * 6)
        return connected(serving(partial(gateway.relay.answer, surface=SURFACES["/v1/messages"])))

    with asyncio.Runner() as runner:
        connection, line = runner.run(prepared())
        asks = sent("POST", "/v1/messages", body("/v1/messages"))

        async def answered() -> None:
            connection.data_received(asks)
            assert connection.task is not None
            await connection.task

        loop = runner.get_loop()
        loop.run_until_complete(answered())
        # The least of some: what a request leaves to be done in threads may end while the next is counted.
        costs = [calls(lambda: loop.run_until_complete(answered())) for _ in range(4)]
        line.written.clear()
        loop.run_until_complete(answered())

    assert b"event: message_stop" in line.written[-1]
    assert line.written[-1].endswith(b"0\r\n\r\n")
    assert len(line.written) == 1
    assert min(costs) < 985


def answering(listening: socket.socket, answer: bytes) -> None:
    """Give the same answer to each request of one connection: in a thread, where nothing is counted."""
    connection, _ = listening.accept()
    with connection:
        while asked := connection.recv(2**16):
            head, _, sent = asked.partition(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            while len(sent) < length:
                sent += connection.recv(2**16)
            connection.sendall(answer)


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """With the log of a gateway, and nothing else that a test has listen to it."""
    log, mask = logging.getLogger("kiro_auth"), os.umask(0o077)
    before = log.handlers[:], log.level, log.propagate
    settings = logging._srcfile, logging.logThreads, logging.logMultiprocessing
    log.handlers, log.propagate = [], False
    try:
        log_to(folder, quiet=True, verbose=False)
        yield
    finally:
        for handler in log.handlers:
            handler.close()
        log.handlers, log.level, log.propagate = before
        logging._srcfile, logging.logThreads, logging.logMultiprocessing = settings
        os.umask(mask)


@pytest.mark.outside
def test_a_short_request_costs_few_calls_with_the_lines_to_the_service_and_the_log(tmp_path: Path) -> None:
    """As a gateway runs, without TLS: from the read of the request until the connection waits for another."""
    hello = text("Hello") + text(" word") * 8 + END
    answer = HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(hello), hello)

    async def costs() -> list[int]:
        loop = asyncio.get_running_loop()
        async with Lines(Trust()) as lines:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            endpoints = Endpoints({"runtime": (url,), "management": ("http://127.0.0.1:9",)})  # no lists
            client = KiroClient(lines, endpoints, timeout=60)
            gateway = Gateway(tmp_path, client=client, listeners=[TurnLines()])
            answer_one = partial(gateway.relay.answer, surface=SURFACES["/v1/messages"])
            connection, line = connected(serving(answer_one))
            asks, counted = sent("POST", "/v1/messages", body("/v1/messages")), list[int]()
            for _ in range(6):
                done = loop.create_future()
                begin, end = counting()
                begin()
                connection.data_received(asks)
                assert connection.task is not None
                connection.task.add_done_callback(lambda _, end=end, done=done: done.set_result(end()))
                counted.append(await done)
                await gateway.stage.pool.verdicts.close()
                os.utime(tmp_path / ACCOUNTS, (0, 0))  # a file that was written just now is read again
            assert b"event: message_stop" in line.written[-1]
            return counted

    with socket.create_server(("127.0.0.1", 0)) as listening, logged(tmp_path):
        service = threading.Thread(target=answering, args=(listening, answer), daemon=True)
        service.start()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            measured = runner.run(costs())
        service.join(10)

    assert (tmp_path / "gateway.log").read_bytes().count(b'"event":"turn"') == len(measured)
    assert min(measured) < 940


class Looked(dict[str, list[str]]):
    """The secrets that are known; counts how often a text is searched for them."""

    times = 0

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize(
    ("message", "times"), [("a plain line", 1), ("a line about ada@example.com", 2)], ids=["plain", "e-mail"]
)
def test_a_line_of_the_log_is_searched_for_secrets_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str, times: int
) -> None:
    """And once more before an e-mail in it is made unknown, as it may be a part of a secret."""
    secrets = Looked({"the-gateway-": ["the-gateway-s-own-key"]})
    monkeypatch.setattr(texts, "_secrets", secrets)
    with logged(tmp_path):
        logging.getLogger("kiro_auth").warning(message)

    assert secrets.times == times


def test_what_is_kept_of_a_turn_costs_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in ("_secrets", "_order"):  # those that other tests have learned
        monkeypatch.setattr(texts, kept, {})
    texts.learn("the-gateway-s-own-key", "aoaAAAAAG-access", "aorAAAAAG-refresh")
    turn = turn_ended()
    values_of(row_of(turn))

    assert calls(lambda: values_of(row_of(turn))) < 30
