"""A service that answers what it was told to, in order, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request; header names are lower-case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Script:
    """What to answer.  When the answers run out, the last one is repeated."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    connections: set[Any] = field(default_factory=set)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.connections.add(request.transport.get_extra_info("peername"))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.method, request.path, dict(request.query), headers, body))
        number = min(len(self.asked), len(self.answers)) - 1
        answer = self.answers[number]
        if not isinstance(answer, web.StreamResponse):
            answer = await answer(request)
        if isinstance(answer, web.Response):  # a response object can be sent once
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        return answer


def reply(body: Any = None, status: int = 200, **headers: str) -> web.Response:
    """A JSON answer; underscores in header names become dashes."""
    return web.Response(
        body=body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode(),
        status=status,
        headers={
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


@asynccontextmanager
async def script(*answers: Answer) -> AsyncIterator[Script]:
    """Serve these answers on a free port."""
    told = Script(list(answers))
    runner = web.ServerRunner(web.Server(told.answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        told.url = f"http://127.0.0.1:{port}"
        yield told
    finally:
        await runner.cleanup()
