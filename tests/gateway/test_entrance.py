"""The gateway's first moments: it listens and says so, and what needs the rest of it waits for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kiro_auth.config import load
from kiro_auth.gateway.body import read_body
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.entrance import Entrance, Rest
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.proof import Prover
from kiro_auth.gateway.reloading import Reloaded
from kiro_auth.gateway.sockets import listen
from kiro_auth.gateway.streams import Streams
from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.files import FileKeys
from support.programs import KEY

EARLY = [
    ("POST", "/v1/messages", b"a body", 200, b"a body"),
    ("POST", "/messages/", b"b" * 300_000, 200, b"b" * 300_000),
    ("GET", "/v1/models", b"", 200, b"models"),
    ("GET", "/metrics", b"", 200, b"figures"),
    ("GET", "/v1/models/none", b"", 404, b"There is no GET /v1/models/none here"),
    ("DELETE", "/v1/models", b"", 405, b"There is no DELETE /v1/models here"),
]
"""What is asked too early: method, path, body; the status, and what is in the answer."""


class Asking:
    """A client of an entrance."""

    def __init__(self, entrance: Entrance, http: aiohttp.ClientSession, url: str) -> None:
        self.entrance = entrance
        self._http = http
        self._url = url

    async def ask(self, method: str, path: str, body: bytes = b"", key: str = KEY) -> tuple[int, bytes]:
        headers = {"x-api-key": key}
        async with self._http.request(method, self._url + path, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def until_under_way(self, count: int) -> None:
        while self.entrance.activity.open < count:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def entered(keys: FileKeys | None = None) -> AsyncIterator[Asking]:
    guard = Guard(key=KEY, prover=Prover("s", "127.0.0.1", 1), client_keys=ClientKeys(keys))
    entrance = Entrance(guard, load())
    sockets = listen(("127.0.0.1",), 0)
    async with aiohttp.ClientSession() as http, entrance.serving(sockets):
        yield Asking(entrance, http, f"http://127.0.0.1:{sockets[0].getsockname()[1]}")


def rest() -> Rest:
    async def echo(request: Request) -> Response:
        return Response(await read_body(request))

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=b"figures")

    def pages() -> web.Application:
        app = web.Application()
        app.add_routes([web.get("/metrics", figures)])
        return app

    async def reload() -> Reloaded:
        return Reloaded()

    async def known() -> bool:
        return True

    routes = {
        "POST /v1/messages": Route(waiting=echo, limit=1_000_000, for_clients=True),
        "GET /v1/models": Route(lambda _: Response(b"models"), for_clients=True),
        "GET /kiro/accounts": Route(lambda _: Response(b"accounts")),
    }
    return Rest(routes, pages, Streams(Wheel()), reload, known)


async def test_what_comes_early_is_answered_as_soon_as_the_gateway_is_complete() -> None:
    async with entered() as asking:
        early = [asyncio.create_task(asking.ask(method, path, body)) for method, path, body, *_ in EARLY]
        await asking.until_under_way(len(EARLY) - 1)  # to look at metrics is no use

        assert (await asking.ask("GET", "/health"))[0] == 200
        assert (await asking.ask("POST", "/v1/messages", key="wrong"))[0] == 401
        assert not any(task.done() for task in early)

        asking.entrance.complete(rest())
        answers = await asyncio.gather(*early)
        late = [await asking.ask(method, path, body) for method, path, body, *_ in EARLY]

    assert answers == late
    assert [status for status, _ in answers] == [status for *_, status, _ in EARLY]
    for (_, answer), (*_, words) in zip(answers, EARLY, strict=True):
        assert words in answer


async def test_who_holds_a_client_key_waits_as_well_and_comes_no_further_than_later(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path, tmp_path)
    changes = Changes(keys, "ada", time.time())
    ann, bob, gone = (changes.create(name, Limits()).secret for name in ("ann", "bob", "gone"))
    changes.revoke("gone")
    asks = [("POST", "/v1/messages"), ("GET", "/v1/models"), ("GET", "/kiro/accounts"), ("GET", "/none")]
    async with entered(keys) as asking:
        early = [asyncio.create_task(asking.ask(method, path, key=ann)) for method, path in asks]
        await asking.until_under_way(len(asks))

        assert (await asking.ask("POST", "/v1/messages", key=gone))[0] == 401
        assert (await asking.ask("POST", "/v1/messages", key="kak_wrong"))[0] == 401
        assert (await asking.ask("POST", "/kiro/stop", key=ann))[0] == 403
        leaves = asyncio.create_task(asking.ask("POST", "/v1/messages", b"bob's", key=bob))
        await asking.until_under_way(len(asks) + 1)
        leaves.cancel()
        assert not any(task.done() for task in early)

        asking.entrance.complete(rest())
        answers = await asyncio.gather(*early)
        late = [await asking.ask(method, path, key=ann) for method, path in asks]

    assert [status for status, _ in answers] == [200, 200, 403, 404]
    assert answers == late
    assert not asking.entrance.presence.stop.is_set()


async def test_without_a_key_nothing_waits_and_it_is_ready_once_it_is_complete() -> None:
    async with entered() as asking:
        assert await asking.ask("GET", "/ready", key="") == (503, b'{"status":"starting"}')
        assert (await asking.ask("POST", "/v1/messages", key=""))[0] == 401
        assert (await asking.ask("POST", "/ready", b"b" * 300_000, key=""))[0] == 405
        asking.entrance.complete(rest())
        assert await asking.ask("GET", "/ready", key="") == (200, b'{"status":"ready"}')


async def test_a_gateway_that_ends_before_it_is_complete_says_so_to_those_who_wait() -> None:
    async with entered() as asking:
        waiting: Any = asyncio.create_task(asking.ask("POST", "/v1/messages"))
        page = asyncio.create_task(asking.ask("GET", "/dashboard/"))
        await asking.until_under_way(2)

    assert isinstance((await asyncio.gather(page, return_exceptions=True))[0], aiohttp.ClientError)
    status, answer = await waiting
    assert status == 424
    assert b"The gateway was stopped" in answer


async def test_the_certificates_are_read_once_somebody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async with entered() as asking:
        begun: list[bool] = []
        monkeypatch.setattr(asking.entrance.trust.context, "load_default_certs", lambda: begun.append(True))
        assert (await asking.ask("GET", "/health"))[0] == 200
        assert not begun

        waiting = asyncio.create_task(asking.ask("POST", "/v1/messages", b"a body"))
        await asking.until_under_way(1)
        await asking.entrance.trust.ready()
        assert begun == [True]

        asking.entrance.complete(rest())
        assert await waiting == (200, b"a body")
