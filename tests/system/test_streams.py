"""Many streams of one gateway: clients that do not read, that leave, that come all at once."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from support.frames import END, text
from support.programs import KEY, Home
from support.scripted import Script, reply, script
from support.serving import Served, serving

pytestmark = [pytest.mark.outside, pytest.mark.timeout(120)]

PIECE = "x" * 100_000
PIECES = 300
"""Of one long answer: thirty megabytes, several times what sockets hold on the way."""


class Host:
    """Answers by the words of the request: `long`, `held` after its first word, else at once."""

    def __init__(self) -> None:
        self.sent: list[int] = []  # pieces of each long answer
        self.left = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if b"ListAvailable" in request.headers.get("X-Amz-Target", "").encode():
            return reply({"models": []})
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        await response.prepare(request)
        if b"long" in body:
            await self.long(response)
        if b"held" in body:
            await response.write(text("Hello"))
            await self.until_left(request)
            return response
        await response.write(text("Hello") + END)
        return response

    async def long(self, response: web.StreamResponse) -> None:
        number = len(self.sent)
        self.sent.append(0)
        piece = text(PIECE)
        for _ in range(PIECES):
            await response.write(piece)
            self.sent[number] += 1

    async def until_left(self, request: web.Request) -> None:
        while True:
            if request.transport is None or request.transport.is_closing():
                self.left.set()
                return
            await asyncio.sleep(0.001)


@pytest.fixture
async def host() -> Host:
    return Host()


@pytest.fixture
async def gateway(tmp_path: Path, host: Host) -> AsyncIterator[Served]:
    home = Home(tmp_path)
    async with script(host) as service:
        write_account(home, service)
        async with serving(home, max_concurrent_per_account=2000, usage_tracking_enabled=False) as served:
            yield served


def write_account(home: Home, service: Script) -> None:
    home.environment |= {"KIRO_ENDPOINT_RUNTIME": service.url, "KIRO_ENDPOINT_MANAGEMENT": service.url}
    account = {
        "id": "0" * 32, "authMethod": "idc", "region": "us-east-1", "clientId": "c", "clientSecret": "s",
        "refreshToken": "r", "accessToken": "a", "expiresAt": 4102444800000,
        "profileArn": "arn:aws:codewhisperer:us-east-1:123456789012:profile/P",
    }  # fmt: skip
    home.config.mkdir(parents=True)
    (home.config / "kiro-accounts.json").write_text(json.dumps({"version": 1, "accounts": [account]}))


class Client:
    """A client over a socket of its own, which takes little by itself and reads when it is told to."""

    def __init__(self, gateway: Served) -> None:
        self._port = int(gateway.url.rpartition(":")[2])
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        self._socket.setblocking(False)

    async def ask(self, words: str) -> None:
        loop = asyncio.get_running_loop()
        body = {"model": "claude-sonnet-4-5", "max_tokens": 10**8, "stream": True}
        raw = json.dumps(body | {"messages": [{"role": "user", "content": words}]}).encode()
        await loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        head += f"Connection: close\r\nContent-Length: {len(raw)}\r\n\r\n"
        await loop.sock_sendall(self._socket, head.encode() + raw)

    async def some(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, 1 << 20)

    async def rest(self) -> bytes:
        parts = []
        while data := await self.some():
            parts.append(data)
        self._socket.close()
        return b"".join(parts)

    def leave(self) -> None:
        self._socket.close()


async def still(host: Host) -> list[int]:
    """How much of the long answers was sent, once no more is."""
    before: list[int] = [-1]
    while host.sent != before:
        before = list(host.sent)
        await asyncio.sleep(0.7)
    return before


async def test_who_does_not_read_holds_back_the_service_and_nobody_else(gateway: Served, host: Host) -> None:
    slow = [Client(gateway) for _ in range(3)]
    for client in slow:
        await client.ask("long")
    while len(host.sent) < len(slow):
        await asyncio.sleep(0.01)
    sent = await still(host)
    assert max(sent) < PIECES  # the rest waits where it comes from

    status, _, said = await gateway.ask("Hi", stream=True)
    assert (status, said.count("message_stop")) == (200, 2)

    for client in slow:
        whole = await client.rest()
        assert whole.count(b"x" * 1000) == PIECES * 100
        assert b"message_stop" in whole


async def test_a_client_that_leaves_ends_the_call_while_the_service_is_silent(
    gateway: Served, host: Host
) -> None:
    client = Client(gateway)
    await client.ask("held")
    said = b""
    while b"Hello" not in said:
        said += await client.some()
    client.leave()

    await asyncio.wait_for(host.left.wait(), 30)  # the service says nothing that would end it


async def test_streams_that_come_at_once_are_all_answered(gateway: Served) -> None:
    clients = [Client(gateway) for _ in range(200)]  # a thousand in `make bench`, where files may be as many

    await asyncio.gather(*(client.ask("Hi") for client in clients))
    answers = await asyncio.gather(*(client.rest() for client in clients))

    assert all(b"message_stop" in said for said in answers)
