"""Pages that aiohttp serves, on connections whose first request was let in already.

aiohttp takes long to import, and much memory, so that it is imported for the first such request.  Each
connection is handed over with the bytes that came on it, and carries this one request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.site import Admission, Site

if TYPE_CHECKING:
    from aiohttp import web

    from kiro_auth.gateway.http.library_server import LibraryServer

LAST_GRACE: Final = 2.0
"""Seconds that answers under way get when the gateway ends."""


class Library:
    """The application that `make` makes once it is asked for something that it `has`.

    Of its paths `is_open` says which need no key, `is_for_clients` which the holders of client keys may ask
    for too, and `is_use` which count as use of the gateway.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[web.Application]],
        has: Callable[[Head], bool],
        *,
        is_open: Callable[[str], bool] = lambda _: False,
        is_for_clients: Callable[[str], bool] = lambda _: False,
        is_use: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self._make = make
        self.has = has
        self.is_open = is_open
        self.is_for_clients = is_for_clients
        self.is_use = is_use
        self._server: asyncio.Task[LibraryServer] | None = None

    async def handler(self, site: Site, path: str, admission: Admission) -> asyncio.Protocol:
        """What answers the one request of a connection, to this path, which was let in like that."""
        if self._server is None:
            self._server = asyncio.create_task(self._started(site))
            self._server.add_done_callback(self._on_started)
        server = await asyncio.shield(self._server)
        return server.handler(path, admission)

    async def end(self) -> None:
        """End its connections."""
        if self._server is not None:
            await asyncio.wait([self._server])
        if self._server is not None:
            await self._server.result().end()

    def _on_started(self, server: asyncio.Task[LibraryServer]) -> None:
        if server.cancelled() or server.exception() is not None:
            self._server = None  # the next request tries again

    async def _started(self, site: Site) -> LibraryServer:
        await asyncio.to_thread(_load)
        from kiro_auth.gateway.http.library_server import LibraryServer

        return await LibraryServer.started(await self._make(), site, LAST_GRACE)


def _load() -> None:
    """Import them, in a thread, for as long as it takes."""
    from kiro_auth.gateway.http import library_server  # noqa: F401
