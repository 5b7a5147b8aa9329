"""Both ends of the relay without a socket: a service that answers by a script, and a client of aiohttp."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.relay import CALLER
from kiro_auth.kiro.edge.answer import Sink
from kiro_auth.kiro.edge.client import Credentials
from kiro_auth.kiro.edge.endpoints import Endpoint
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.off_loop import Run

PLACE = Endpoint(url="https://service", protocol="rpc", target_prefix="Kiro", origin="KIRO_CLI")
Step = bytes | Failure | asyncio.Event
"""What one read of a reply gives: bytes, a failure, or nothing until the event is set."""


class Service:
    """Stands where `KiroClient` does.  `answers` are failures, or the steps of replies, one for each call."""

    def __init__(self, *answers: Failure | list[Step]) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, dict[str, Any]]] = []  # the token, and the body
        self.models: list[dict[str, Any]] = []

    @asynccontextmanager
    async def chat(
        self, credentials: Credentials, build: Callable[[Endpoint], Payload], run: Run
    ) -> AsyncIterator[ScriptedReply]:
        sent = await run(build, PLACE)
        self.sent.append((credentials.token, json.loads(sent.body)))
        answer = self.answers.pop(0)
        if isinstance(answer, Failure):
            raise TurnFailed(answer)
        yield ScriptedReply(sent, answer)

    async def invoke_mcp(self, _: Credentials, __: Any) -> Any:
        raise TurnFailed(Failure(code="KA-NETWORK", message="There is no search."))

    async def list_models(self, _: Credentials) -> dict[str, Any]:
        return {"models": self.models}


class ScriptedReply:
    """Stands where `ChatReply` stands."""

    def __init__(self, sent: Payload, steps: list[Step]) -> None:
        self.sent = sent
        self.request_id = "r-1"
        self._steps = list(steps)

    async def read(self) -> bytes:
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, Failure):
                raise TurnFailed(step)
            if isinstance(step, bytes):
                return step
            await step.wait()
        return b""

    @property
    def at_hand(self) -> bool:
        return not self._steps or not isinstance(self._steps[0], asyncio.Event)

    async def flow(self, sink: Sink) -> None:
        while (data := await self.read()) and sink(data):
            pass

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class _Line(BaseProtocol):
    """What belongs to both the transport and the writer."""

    __slots__ = ("on_writable", "writer")
    ssl_context = None
    peername = sockname = None


class Client:
    """Asks, and takes what is written, unless it `takes` nothing; it may leave in the middle.

    To the gateway it is the transport of its connection.  `handler` is what answers it.
    """

    def __init__(self) -> None:
        self.written = b""
        self.takes = True
        self.handler: asyncio.Task[Any] | None = None
        self._moved = asyncio.Event()
        self._gone = False
        self.protocol = _Line(asyncio.get_running_loop())
        self.protocol.on_writable = None
        self.protocol.transport = self  # type: ignore[assignment]

    def request(self, path: str, body: Any, **headers: str) -> web.Request:
        """What the application hands to the relay.  By HTTP/1.0, so that nothing is cut into chunks."""
        content = StreamReader(self.protocol, 2**24, loop=asyncio.get_running_loop())
        content.feed_data(body if isinstance(body, bytes) else json.dumps(body).encode())
        content.feed_eof()
        request = make_mocked_request(
            "POST",
            path,
            headers,
            version=HttpVersion10,
            payload=content,
            writer=_Writer(self),
            transport=self,
            protocol=self.protocol,
        )
        request[CALLER] = OWNER
        return request

    async def has(self, words: bytes) -> None:
        """Wait until these words were written."""
        async with asyncio.timeout(5):
            while words not in self.written:
                await self._moved.wait()
                self._moved.clear()

    def leaves(self) -> None:
        """As aiohttp has it: the transport is gone, and the handler is cancelled."""
        self.abort()
        self.protocol.transport = None

    # ------------------------------------------------------------------- what is called of a transport

    def write(self, data: bytes) -> None:
        if self._gone:
            return
        if self.takes:
            self.written += data
        elif self.protocol.on_writable is not None:
            self.protocol.on_writable(False)
        self._moved.set()

    def abort(self) -> None:
        self._gone = True
        if self.handler is not None:
            self.handler.cancel()

    def is_closing(self) -> bool:
        return self._gone

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _Writer(AbstractStreamWriter):
    """What aiohttp writes with."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def write(self, chunk: Any) -> None:
        if self._client.is_closing():
            raise ConnectionResetError("the client left")
        self._client.write(bytes(chunk))

    async def write_eof(self, chunk: bytes = b"") -> None:
        await self.write(chunk)

    async def drain(self) -> None:
        pass

    def enable_compression(self, *_: Any, **__: Any) -> None:
        pass

    def enable_chunking(self) -> None:
        pass

    async def write_headers(self, status_line: str, headers: Any) -> None:
        pass
