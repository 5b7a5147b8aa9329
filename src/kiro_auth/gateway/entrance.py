"""What there is of a gateway from its first moment: it listens, says that it is there, knows who may come in.

To import the rest takes as long again as the start of Python with all this.  So the rest is imported while
programs find the gateway; requests that need it wait until it is `complete`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kiro_auth.config import Config
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.front import Front
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.server import Server, serving
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.pages import has_page, is_for_clients, is_open_page, is_use
from kiro_auth.gateway.presence import Presence
from kiro_auth.kiro.edge.trust import Trust

if TYPE_CHECKING:
    from aiohttp import web

    from kiro_auth.gateway.reloading import Reloaded
    from kiro_auth.gateway.streams import Streams


class Rest(Struct, frozen=True):
    """The rest of a gateway: its routes, the application of its pages, its streams.

    `reload` reads its options anew; `knows_accounts` as for `Presence`.
    """

    routes: Mapping[str, Route]
    pages: Callable[[], web.Application]
    streams: Streams
    reload: Callable[[], Coroutine[Any, Any, Reloaded]]
    knows_accounts: Callable[[], Coroutine[Any, Any, bool]]


class Entrance:
    """See the module.  `on_reloaded` hears that the options, which stand in `config`, have changed."""

    def __init__(
        self, guard: Guard, config: Config, *, on_reloaded: Callable[[], None] = lambda: None
    ) -> None:
        self.presence = Presence(guard)
        self.activity = Activity(last=time.monotonic())
        self.wheel = Wheel()
        self.trust = Trust()
        self.on_reloaded = on_reloaded
        self.rest: Rest | None = None
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._library = Library(
            self._pages,
            has_page,
            is_open=partial(is_open_page, config),
            is_for_clients=is_for_clients,
            is_use=is_use,
        )
        own = Routes(self.presence.routes())
        # Who waits will need a connection: its certificates are read at the same time, without Python's lock.
        waits = self.trust.begin
        self._front = Front(guard, self.activity, own, self._library, self._complete, on_waiting=waits)

    def complete(self, rest: Rest) -> None:
        """The rest is there: what waits for it goes on."""
        self.rest = rest
        self.presence.knows_accounts = rest.knows_accounts
        self._front.routes = Routes({**self.presence.routes(), **rest.routes})
        self._complete.set_result(None)

    async def completed(self) -> Rest:
        """Wait for the rest."""
        await asyncio.shield(self._complete)
        assert self.rest is not None, "it is complete"
        return self.rest

    @asynccontextmanager
    async def serving(self, sockets: Iterable[socket]) -> AsyncIterator[Server]:
        """Serve at these sockets, as `http.server.serving` does; the rest must not end before."""
        async with serving(
            self._front, sockets, wheel=self.wheel, library=self._library, on_end=self._end
        ) as server:
            yield server

    async def _end(self) -> None:
        self._complete.cancel()  # nobody waits for a rest that has failed
        if self.rest is not None:
            await self.rest.streams.end()

    async def _pages(self) -> web.Application:
        return (await self.completed()).pages()
