"""What there is of a gateway from its first moment: it listens, says that it is there, knows who may come in.

To import the rest takes as long again as the start of Python with all this.  So the rest is imported while
programs find the gateway; requests that need it wait until it is `complete`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from socket import socket
from typing import TYPE_CHECKING

from msgspec import Struct

from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.front import Front
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.server import serving
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.pages import has_page, is_open_page, is_use
from kiro_auth.gateway.presence import Presence
from kiro_auth.kiro.edge.trust import Trust

if TYPE_CHECKING:
    from aiohttp import web


class Rest(Struct, frozen=True):
    """The rest of a gateway: its routes, the application of its pages, and what ends its streams."""

    routes: Mapping[str, Route]
    pages: Callable[[], web.Application]
    end_streams: Callable[[], Awaitable[None]]


class Entrance:
    """See the module.  `open_metrics`: they need no key."""

    def __init__(self, guard: Guard, *, open_metrics: bool = False) -> None:
        self.presence = Presence(guard, stop=asyncio.Event(), retire=asyncio.Event())
        self.activity = Activity(last=time.monotonic())
        self.wheel = Wheel()
        self.trust = Trust()
        self.rest: Rest | None = None
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        is_open = is_open_page(open_metrics=open_metrics)
        self._library = Library(self._pages, has_page, is_open=is_open, is_use=is_use)
        own = Routes(self.presence.routes())
        # Who waits will need a connection: its certificates are read at the same time, without Python's lock.
        waits = self.trust.begin
        self._front = Front(guard, self.activity, own, self._library, self._complete, on_waiting=waits)

    def complete(self, rest: Rest) -> None:
        """The rest is there: what waits for it goes on."""
        self.rest = rest
        self._front.routes = Routes({**self.presence.routes(), **rest.routes})
        self._complete.set_result(None)

    @asynccontextmanager
    async def serving(self, sockets: Iterable[socket]) -> AsyncIterator[Callable[[socket], None]]:
        """Serve at these sockets, as `http.server.serving` does; the rest must not end before."""
        async with serving(
            self._front, sockets, wheel=self.wheel, library=self._library, on_end=self._end
        ) as close:
            yield close

    async def _end(self) -> None:
        self._complete.cancel()  # nobody waits for a rest that has failed
        if self.rest is not None:
            await self.rest.end_streams()

    async def _pages(self) -> web.Application:
        await asyncio.shield(self._complete)
        assert self.rest is not None, "it is complete"
        return self.rest.pages()
