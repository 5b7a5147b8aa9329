"""A server of ours with a few routes of its own, in this process, and clients that speak in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.body import read_body
from kiro_auth.gateway.front import Front
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.library_server import CALLER
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.server import serving
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.presence import Presence
from kiro_auth.gateway.proof import Prover
from kiro_auth.gateway.sockets import listen

KEY = "the-key"


async def known() -> bool:
    """It is known which accounts there are."""
    return True


LIMIT = 1_000_000
"""Bytes of a body that `/echo` reads."""


@dataclass
class House:
    """What is served, and what became of it.  `held` requests wait until they are let go."""

    port: int = 0
    activity: Activity = field(default_factory=Activity)
    held: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self, presence: Presence) -> Routes:
        return Routes(
            {
                **presence.routes(),
                "POST /echo": Route(waiting=self._echo, limit=LIMIT),
                "POST /held": Route(waiting=self._held),
                "GET /held": Route(waiting=self._held),
                "GET /big/*": Route(lambda request: Response(bytes(int(request.path[5:])))),
                "GET /stream": Route(waiting=self._stream),
                "GET /odd": Route(waiting=self._odd),
            }
        )

    async def _echo(self, request: Request) -> Response:
        return Response(await read_body(request), kind="text/plain")

    async def _held(self, _: Request) -> Response:
        self.held += 1
        try:
            await self.let_go.wait()
        finally:
            self.held -= 1
        return Response(b"{}")

    async def _odd(self, request: Request) -> None:
        request.stream({"X-Odd": "two\nlines"})

    async def _stream(self, request: Request) -> None:
        stream = request.stream({"Content-Type": "text/plain"})
        for word in (b"one ", b"two "):
            stream.write(word)
            await asyncio.sleep(0)
        stream.end(b"three")

    async def pages(self) -> web.Application:
        async def page(request: web.Request) -> web.Response:
            return web.Response(text=f"{request[CALLER].name} {await request.text()}")

        async def held(request: web.Request) -> web.StreamResponse:
            self.held += 1
            try:
                await self.let_go.wait()
            finally:
                self.held -= 1
            return web.Response()

        async def broken(_: web.Request) -> web.Response:
            raise LookupError

        async def broken_off(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.content_length = 100
            await response.prepare(request)
            await response.write(b"a word\n")
            raise LookupError

        app = web.Application()
        app.add_routes([web.route("*", "/pages/one", page), web.route("*", "/pages/held", held)])
        app.add_routes([web.get("/pages/broken", broken), web.get("/pages/broken-off", broken_off)])
        return app


@asynccontextmanager
async def house(tick: float = 0.01, *, is_open: bool = False) -> AsyncIterator[House]:
    """A server, whose seconds are as long as the limits say; it looks at them every `tick`.

    Its pages need no key if `is_open`.
    """
    made = House()
    sockets = listen(("127.0.0.1",), 0)
    made.port = sockets[0].getsockname()[1]
    guard = Guard(key=KEY, prover=Prover("s", "127.0.0.1", made.port), origins=frozenset({"app://notes"}))
    presence = Presence(guard, knows_accounts=known)
    library = Library(made.pages, lambda head: head.path.startswith("/pages/"), is_open=lambda _: is_open)
    front = Front(guard, made.activity, made.routes(presence), library)

    async def nothing() -> None:
        pass

    async with serving(front, sockets, wheel=Wheel(tick), library=library, on_end=nothing):
        yield made


def head(method: str, path: str, *lines: str, key: str | None = KEY) -> bytes:
    usual = [f"{method} {path} HTTP/1.1", "Host: localhost", *([f"x-api-key: {key}"] if key else [])]
    return ("\r\n".join([*usual, *lines]) + "\r\n\r\n").encode()


def post(path: str, body: bytes, *lines: str, key: str | None = KEY) -> bytes:
    return head("POST", path, f"Content-Length: {len(body)}", *lines, key=key) + body


class Client:
    """A connection of somebody who sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._writer.write(part)

    async def send_apart(self, parts: Sequence[bytes]) -> None:
        """Each part as a read of its own."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()
            await asyncio.sleep(0.001)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer, of a known length or in chunks."""
        async with asyncio.timeout(60):
            line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            if "content-length" in headers:
                body = await self._reader.readexactly(int(headers["content-length"]))
            elif "transfer-encoding" in headers:
                body = await self._chunks()
            else:
                body = b""
        return int(line.split()[1]), headers, body

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(parts)

    async def rest(self) -> bytes:
        """Whatever comes until the connection is closed."""
        async with asyncio.timeout(60):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def leave(self) -> None:
        self._writer.close()

    def say_no_more(self) -> None:
        self._writer.write_eof()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
