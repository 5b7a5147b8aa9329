"""A client that costs little: it looks for the first word of an answer and for its end, and counts words."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

from msgspec import Struct

KEY = "bench-key-that-is-long-enough"
_FIRST = b'"The '
_END = b"\r\n0\r\n\r\n"


class Answer(Struct, frozen=True):
    """`first` is how many seconds after the request its first word came."""

    first: float
    words: int


def request(
    events: int,
    burst: int,
    pause: float,
    history: list[dict[str, Any]] | None = None,
    session: str = "",
    **more: Any,
) -> bytes:
    """A request for so many events, `burst` of them at a time, `pause` seconds apart.

    With the name of a `session` it is one of a conversation.
    """
    last = {"role": "user", "content": f"bench {events} {burst} {pause:.4f}"}
    body = json.dumps(
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 1_000_000,  # more than comes: the gateway keeps to it
            "stream": True,
            "messages": [*(history or ()), last],
            **more,
        },
        ensure_ascii=False,  # as agents write it: of a letter that is not ASCII none makes an escape
    ).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"x-api-key: {KEY}\r\nContent-Length: {len(body)}\r\n"
    )
    head += f"x-session-id: {session}\r\n\r\n" if session else "\r\n"
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection, which is kept, with one request at a time."""

    def __init__(self) -> None:
        self._answered: asyncio.Future[Answer] | None = None
        self.begun: asyncio.Future[None] | None = None

    @classmethod
    async def to(cls, port: int) -> Connection:
        _, made = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, sent: bytes) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        self._answered, self.begun = loop.create_future(), loop.create_future()
        self._first, self._words, self._tail = 0.0, 0, b""
        self._asked = time.perf_counter()
        self._transport.write(sent)
        return self._answered

    def data_received(self, data: bytes) -> None:
        assert self._answered is not None
        assert self.begun is not None
        self._words += data.count(b" ")
        seen = self._tail + data
        if not self._tail and not seen.startswith(b"HTTP/1.1 200"):
            self._answered.set_exception(RuntimeError(repr(seen[:500])))
            return
        if not self._first and _FIRST in seen:
            self._first = time.perf_counter() - self._asked
            self.begun.set_result(None)
        self._tail = seen[-len(_END) :]
        if self._tail == _END:
            self._answered.set_result(Answer(self._first, self._words))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(error or ConnectionError("the stream was cut"))

    def close(self) -> None:
        self._answered = None
        self._transport.close()


async def connections(port: int, count: int) -> list[Connection]:
    return [await Connection.to(port) for _ in range(count)]


async def at_once(port: int, sent: bytes, streams: int, times: int = 1) -> list[Answer]:
    """`streams` connections, each of which asks `times`, one after another."""

    async def ask(connection: Connection) -> list[Answer]:
        return [await connection.ask(sent) for _ in range(times)]

    made = await connections(port, streams)
    try:
        async with asyncio.timeout(120):
            return [answer for each in await asyncio.gather(*map(ask, made)) for answer in each]
    finally:
        for connection in made:
            connection.close()


async def one_by_one(port: int, sent: bytes, lines: int, times: int) -> list[Answer]:
    """On each of so many lines `times` requests, one after another, each on a connection of its own."""

    async def ask() -> list[Answer]:
        answers = []
        for _ in range(times):
            begun = time.perf_counter()
            connection = await Connection.to(port)
            connected = time.perf_counter() - begun
            answer = await connection.ask(sent)
            connection.close()
            answers.append(Answer(connected + answer.first, answer.words))
        return answers

    async with asyncio.timeout(120):
        return [answer for each in await asyncio.gather(*(ask() for _ in range(lines))) for answer in each]


async def staggered(port: int, sent: bytes, streams: int, seconds: float) -> list[Answer]:
    """`streams` requests, begun one after another over so many seconds; twice, as the first fill the line."""
    made = await connections(port, streams)
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def ask(number: int) -> Answer:
        answers = []
        for time_ in range(2):
            await asyncio.sleep(begun + seconds * (time_ + number / streams) - loop.time())
            answers.append(await made[number].ask(sent))
        return answers[-1]

    try:
        async with asyncio.timeout(120):
            return await asyncio.gather(*map(ask, range(streams)))
    finally:
        for connection in made:
            connection.close()
