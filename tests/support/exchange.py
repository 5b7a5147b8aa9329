"""Both ends of the relay without a socket: a service that answers by a script, and a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from http.client import HTTPResponse
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast

from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.body import MAX_BODY
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.http.head import HeadReader
from kiro_auth.gateway.http.incoming import Incoming
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Admission
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
        self.replies: list[ScriptedReply] = []

    async def chat(
        self, credentials: Credentials, build: Callable[[Endpoint], Payload], run: Run
    ) -> ScriptedReply:
        sent = await run(build, PLACE)
        self.sent.append((credentials.token, json.loads(sent.body)))
        answer = self.answers.pop(0)
        if isinstance(answer, Failure):
            raise TurnFailed(answer)
        self.replies.append(ScriptedReply(sent, answer))
        return self.replies[-1]

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
        while self._steps and isinstance(step := self._steps[0], asyncio.Event):
            await step.wait()
            self._steps.pop(0)
        return self.taken()

    @property
    def at_hand(self) -> bool:
        return not self._steps or not isinstance(self._steps[0], asyncio.Event)

    def taken(self) -> bytes:
        step = self._steps.pop(0) if self._steps else b""
        if isinstance(step, Failure):
            raise TurnFailed(step)
        assert isinstance(step, bytes), "an event is nothing to be taken"
        return step

    async def flow(self, sink: Sink) -> None:
        while (data := await self.read()) and sink(data):
            pass

    def close(self) -> None:
        self._steps.clear()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Answered(Struct):
    """An answer as the client has it; a stream has been written, so that its body is not here."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Asks, and takes what is written, unless it `takes` nothing; it may leave in the middle.

    To the gateway it is the connection and its transport.  `handler` is what answers it.
    """

    def __init__(self) -> None:
        self.written = b""
        self.takes = True
        self.handler: asyncio.Task[Any] | None = None
        self.writable = True
        self.stays = True
        self.on_writable: Callable[[bool], None] | None = None
        self._moved = asyncio.Event()
        self._gone = False

    @property
    def transport(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self)

    def request(self, path: str, body: Any, **headers: str) -> Request:
        """What the server hands to the relay.  By HTTP/1.0, so that nothing is cut into chunks."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return a_request(self, path, data, [*headers.items()], minor=0, limit=2**20)

    def answered(self, response: Response | None) -> Answered:
        """What the server writes of it."""
        if response is not None:
            return Answered(response.status, dict(response.headers), response.body)
        if not self.written:
            return Answered(0, {}, b"")
        with _Said(self.written) as said:
            return Answered(said.status, dict(said.getheaders()), b"")

    async def has(self, words: bytes) -> None:
        """Wait until these words were written."""
        async with asyncio.timeout(60):
            while words not in self.written:
                await self._moved.wait()
                self._moved.clear()

    def leaves(self) -> None:
        """As the server has it: the transport is gone, and the handler is cancelled."""
        self.abort()

    # ------------------------------------------------------------------- what is called of a transport

    def write(self, data: bytes) -> None:
        if self._gone:
            return
        if self.takes:
            self.written += data
        else:
            self.writable = False
            if self.on_writable is not None:
                self.on_writable(False)
        self._moved.set()

    def abort(self) -> None:
        self._gone = True
        if self.handler is not None:
            self.handler.cancel()

    def is_closing(self) -> bool:
        return self._gone


def a_request(
    client: Any,
    path: str,
    body: bytes,
    headers: Sequence[tuple[str, str]] = (),
    *,
    minor: int = 1,
    limit: int = MAX_BODY,
) -> Request:
    """A request whose head and body came at once, for any route."""
    sent = [("Host", "localhost"), ("Content-Length", str(len(body))), *headers]
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
    found = HeadReader().feed(f"POST {path} HTTP/1.{minor}\r\n{lines}\r\n".encode())
    assert found is not None
    incoming = Incoming(found[0], limit, wanted=True)
    incoming.feed(body)
    request = Request(found[0], Admission(OWNER, None, True, "req_1"), client, limit=limit)
    request.comes(incoming)
    return request


class _Said(HTTPResponse):
    """The head of what was written."""

    def __init__(self, written: bytes) -> None:
        super().__init__(cast("Any", SimpleNamespace(makefile=lambda _: BytesIO(written))))
        self.begin()
