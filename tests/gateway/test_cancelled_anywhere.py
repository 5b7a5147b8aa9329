"""A client may leave at any step of a request: nothing of it is left then, whatever step it was."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from support.frames import END, event, text
from support.relaying import Gateway

_STREAM = b"Content-Type: application/vnd.amazon.eventstream\r\n"
_BUSY = b'{"__type":"ThrottlingException","message":"Slow down."}'
_FOUND = json.dumps(
    {"jsonrpc": "2.0", "id": "1", "result": {"content": [{"type": "text", "text": '{"results": []}'}]}}
).encode()
_SEARCH = event(
    "toolUseEvent", name="web_search", toolUseId="s1", input='{"query": "nginx"}', stop=True
) + event("metadataEvent", stopReason="TOOL_USE")
WEB = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]


class Service:
    """Is busy the first time, then wants to search, then answers; each word is a write of its own."""

    def __init__(self) -> None:
        self._replies: list[list[bytes]] = [[], [_SEARCH], [text("Hello"), text(" you"), END]]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer), contextlib.suppress(ConnectionError):
            while head := await self._head(reader):
                if b"InvokeMCP" in head:
                    self._answer(writer, b"200 OK", b"Content-Type: application/json\r\n", _FOUND)
                    continue
                words = self._replies.pop(0)
                if not words:
                    self._answer(writer, b"429 Busy", b"", _BUSY)
                    continue
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n" % _STREAM)
                for word in words:
                    writer.write(b"%x\r\n%b\r\n" % (len(word), word))
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")

    def _answer(self, writer: asyncio.StreamWriter, status: bytes, head: bytes, body: bytes) -> None:
        writer.write(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body))

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return b""
        return head


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    server = await asyncio.start_server(Service().accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def client_of(lines: Lines, url: str) -> KiroClient:
    place = ({"url": url, "protocol": "rpc", "origin": "KIRO_CLI", "target_prefix": "Kiro"},)
    roles = dict.fromkeys(("runtime", "management", "tools"), place)
    return KiroClient(lines, Endpoints(roles), timeout=5)


async def left_after(folder: Path, steps: int, *, stream: bool) -> bool:
    """Have a client leave after so many turns of the loop; whether it was answered before."""
    async with serving() as url, Lines(Trust()) as lines:
        gateway = Gateway(folder, client=client_of(lines, url))
        body = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 100,
            "stream": stream,
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": WEB,
        }
        asking = gateway.asks(stream=stream, body=body)
        for _ in range(steps):
            await asyncio.sleep(0)
        answered = asking.done()
        gateway.client.leaves()
        await asyncio.gather(asking, return_exceptions=True)
        async with asyncio.timeout(5):
            while lines._all != {line for kept in lines._idle.values() for line in kept}:
                await asyncio.sleep(0)
        assert gateway.relay.running() == []
        assert not any(gateway.stage.pool.roster().in_flight.values())
        assert len(gateway.turns) == 1
        return answered


@pytest.mark.outside
@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_left_of_a_request_whose_client_leaves_at_any_step(
    tmp_path: Path, stream: bool
) -> None:
    steps = 1  # at which it has begun
    while not await left_after(tmp_path / str(steps), steps, stream=stream):
        steps += 1
        assert steps < 500

    assert steps > 30
