"""The gateway's application inside the test's own process, where its pauses can be made short."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from kiro_auth import config as configuration
from kiro_auth.events import Listener
from kiro_auth.gateway.app import open_gateway
from kiro_auth.gateway.catalog import OnModelsListed
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.entrance import Entrance
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.proof import Prover
from kiro_auth.gateway.sockets import listen
from kiro_auth.keys.files import FileKeys
from kiro_auth.store.files import FileStore
from support.programs import KEY, Home


class Served:
    """A gateway; `pauses` are the seconds that it would have waited between attempts."""

    def __init__(
        self, url: str, http: aiohttp.ClientSession, pauses: list[float], entrance: Entrance
    ) -> None:
        self.url = url
        self.entrance = entrance
        self.activity = entrance.activity
        self.http = http
        self.pauses = pauses

    def post(self, words: str = "Say hello.", *, stream: bool = False, **more: Any) -> Any:
        """One request of the Anthropic API, to be entered as a block."""
        body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "stream": stream}
        body |= {"messages": [{"role": "user", "content": words}], **more}
        return self.http.post(f"{self.url}/v1/messages", json=body, headers={"x-api-key": KEY})

    async def get(self, path: str) -> Any:
        """What the control API answers."""
        async with self.http.get(f"{self.url}{path}", headers={"x-api-key": KEY}) as answer:
            return await answer.json()

    async def ask(self, words: str = "Say hello.", **more: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of one answer."""
        async with self.post(words, **more) as answer:
            text = await answer.text()
            return answer.status, dict(answer.headers), text if more.get("stream") else json.loads(text)


@asynccontextmanager
async def serving(
    home: Home,
    *,
    chance: float = 1.0,
    listeners: Sequence[Listener] = (),
    on_models_listed: OnModelsListed = lambda *_: None,
    pause: float = 0.0,
    **options: Any,
) -> AsyncIterator[Served]:
    """A gateway on this home's accounts.  `options` may lie outside the ranges that people have.

    Of each of its pauses `pause` is the share that is waited.
    """
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(seconds * pause)

    loaded = configuration.load(environment=home.environment, folder=home.config)
    config = msgspec.structs.replace(loaded, **options)
    store = FileStore(home.config, home.state / "locks")
    guard = Guard(
        key=KEY,
        prover=Prover("a-secret", "127.0.0.1", 4000),
        client_keys=ClientKeys(FileKeys(home.config, home.state)),
        hosts=frozenset(config.allow_host),
        origins=frozenset(config.allow_origin),
    )
    entrance = Entrance(guard, config)
    async with (
        open_gateway(
            config,
            store,
            entrance,
            on_models_listed=on_models_listed,
            sleep=sleep,
            chance=lambda: chance,
            listeners=listeners,
        ),
        aiohttp.ClientSession() as http,
    ):
        sockets = listen(("127.0.0.1",), 0)
        async with entrance.serving(sockets):
            url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
            yield Served(url, http, pauses, entrance)
