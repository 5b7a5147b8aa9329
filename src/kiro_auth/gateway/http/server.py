"""The server: the sockets it listens at, the connections it has, and how they end.

Connections that never came with a key are few: where there are too many, the one that has been silent for
longest goes.  So they can shut nobody out who has a key.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from kiro_auth.gateway.http.connection import Connection
from kiro_auth.gateway.http.library import LAST_GRACE, Library
from kiro_auth.gateway.http.site import Admission, Site
from kiro_auth.gateway.http.wheel import Wheel

log = logging.getLogger("kiro_auth.server")

MOST_STRANGERS: Final = 256
"""Connections without a key at a time; a browser opens six before it asks."""
QUIET_SECONDS: Final = 10.0
"""Between two lines of the log that requests could not be read."""
BACKLOG: Final = 1024
"""Connections that the system keeps until they are taken, and that are taken one after another."""


class Server:
    """Has the connections; see the module."""

    def __init__(self, site: Site, wheel: Wheel, library: Library) -> None:
        self.site = site
        self._wheel = wheel
        self._library = library
        self._all: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}  # the oldest first
        self._unreadable = 0
        self._quiet_until = 0.0
        self._loop = asyncio.get_running_loop()

    def connection(self) -> Connection:
        """A connection, to be made."""
        return Connection(self, self._loop)

    async def end(self, on_end: Callable[[], Awaitable[None]]) -> None:
        """End what is idle at once; streams as `on_end` does; other answers under way after LAST_GRACE."""
        for connection in tuple(self._all):
            connection.end()
        await on_end()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=LAST_GRACE)
        for task in self._tasks():
            task.cancel()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=LAST_GRACE)
        for connection in tuple(self._all):
            connection.transport.close()
        self._wheel.discard(self)
        self._tell_unreadable()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for connection in self._all if (task := connection.task) is not None]

    def tick(self, now: float) -> None:
        """The time."""
        for connection in tuple(self._all):
            connection.tick(now)
        if now >= self._quiet_until:
            self._tell_unreadable()
        if not self._all and not self._unreadable:
            self._wheel.discard(self)

    # -------------------------------------------------------------------------- the connections' side

    def made(self, connection: Connection) -> None:
        """It is there, without a key so far."""
        if len(self._strangers) >= MOST_STRANGERS:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.transport.abort()
        self._all.add(connection)
        self._strangers[connection] = None
        self._wheel.add(self)

    def keyed(self, connection: Connection) -> None:
        """It came with a key."""
        self._strangers.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """It is gone."""
        self._all.discard(connection)
        self._strangers.pop(connection, None)

    def unreadable(self, reason: str) -> None:
        """It sent what is no request: the log has a line for the first of many, and then their number."""
        self._unreadable += 1
        now = self._loop.time()
        if now >= self._quiet_until:
            log.info("a request could not be read: %s", reason or "it is malformed")
            self._unreadable = 0
            self._quiet_until = now + QUIET_SECONDS

    def _tell_unreadable(self) -> None:
        if self._unreadable:
            log.info("%d more requests could not be read", self._unreadable)
            self._unreadable = 0
            self._quiet_until = self._loop.time() + QUIET_SECONDS

    async def hand_over(self, connection: Connection, data: bytes, admission: Admission) -> None:
        """Have the library go on with it, which begins with these bytes."""
        handler = await self._library.handler(self.site, admission)
        transport = connection.transport
        connection.handed_over()
        if transport.is_closing():
            return
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(data)
        transport.resume_reading()


@asynccontextmanager
async def serving(
    site: Site,
    sockets: Iterable[socket.socket],
    *,
    wheel: Wheel,
    library: Library,
    on_end: Callable[[], Awaitable[None]],
) -> AsyncIterator[Callable[[socket.socket], None]]:
    """The site at these sockets, which listen, for as long as the block lasts.

    What is given closes one of them before; connections that it took go on.  A client that leaves ends the
    call to the service at once, also while that is silent.  `on_end` ends the streams.
    """
    loop = asyncio.get_running_loop()
    server = Server(site, wheel, library)
    servers: dict[socket.socket, asyncio.Server] = {}
    try:
        for listening in sockets:
            servers[listening] = await loop.create_server(server.connection, sock=listening, backlog=BACKLOG)
        yield lambda listening: servers[listening].close()
    finally:
        for each in servers.values():
            each.close()
        await server.end(on_end)
        await library.end()
