"""What an event, a read and a request cost, counted: calls of Python's and of C functions, timers, tasks.

Times depend on the machine, these figures do not: a change that makes the path longer shows here.  Each limit
is a little above what it takes today; whoever needs more raises it, and says why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest

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
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.proof import Prover
from kiro_auth.gateway.reply import reply_to
from kiro_auth.kiro.edge.transport import Connection
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.surfaces.surface import Surface
from support.counting import calls
from support.doors import known
from support.exchange import Step
from support.frames import END, text
from support.relaying import Gateway

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

    assert calls(lambda: pipe.data(read)) / EVENTS < 7


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
    connection = Connection("host", lambda _: None, lambda _: None)
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
    assert calls(work) < 210


def test_a_silent_stream_holds_little() -> None:
    started("/v1/messages")
    tracemalloc.start()
    try:
        streams = [started("/v1/messages") for _ in range(50)]
        held = tracemalloc.get_traced_memory()[0] / len(streams)
    finally:
        tracemalloc.stop()

    assert held < 4_500


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


def connected(waiting: Waiting) -> tuple[ServerConnection, Line]:
    """A connection of a server that has one route, and the one that every program asks first."""
    guard = Guard(key="the-key", prover=Prover("s", "127.0.0.1", 1))
    presence = Presence(guard, knows_accounts=known)
    routes = Routes({**presence.routes(), "POST /v1/messages": Route(waiting=waiting, limit=MAX_BODY)})
    library = Library(web_application, lambda _: False)
    server = Server(Front(guard, Activity(), routes, library), Wheel(), library)
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

    connection, line = connected(handle)
    asks, health = sent("POST", "/v1/messages", b"{}"), sent("GET", "/health")
    connection.data_received(health)
    line.written.clear()

    assert calls(lambda: connection.data_received(health)) < 126  # eight of them are the request's name
    assert len(line.written) == 1
    cost = calls(lambda: connection.data_received(asks))
    task = connection.task
    assert task is not None
    await task
    assert cost < 123
    assert len(line.written) == 2


def test_a_streamed_answer_costs_few_calls_in_all_and_one_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a service that answers at once, so that what the lines to the real one cost is not in it."""
    caplog.set_level(logging.WARNING, logger="kiro_auth")  # whatever a test before has left
    hello: list[Step] = [text("Hello") + text(" word") * 8 + END]

    async def prepared() -> tuple[ServerConnection, Line]:
        gateway = Gateway(tmp_path, *[hello] * 6)
        return connected(partial(gateway.relay.answer, surface=SURFACES["/v1/messages"]))

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
    assert min(costs) < 1260
