"""The server: the sockets it listens at, the connections it has, and how they end.

Connections that never came with a key are few: where there are too many, the oldest of them goes, with a word
that says so while there is room for that.  So they can shut nobody out who has a key.  One whose request is
there, and was only not read yet, as on a busy machine, is none of them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from kiro_auth.gateway.http import refusals
from kiro_auth.gateway.http.connection import Connection
from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.library import LAST_GRACE, Library
from kiro_auth.gateway.http.limits import MOST_OF_ONE, MOST_STRANGERS, TIME_TO_ASK, time_to_ask
from kiro_auth.gateway.http.one_request import OneRequest
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Admission, Site, origin_of, peer_of
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.sockets import BACKLOG, OF_NETWORKS, most_connections
from kiro_auth.unread import has_unread

if TYPE_CHECKING:
    from kiro_auth.gateway.http.handshakes import Handshakes

log = logging.getLogger("kiro_auth.server")

QUIET_SECONDS: Final = 10.0
"""Between two lines of the log that requests could not be read."""


class Server:
    """Has the connections; see the module."""

    def __init__(self, site: Site, wheel: Wheel, library: Library) -> None:
        self.site = site
        self._wheel = wheel
        self._library = library
        self._all: set[Connection] = set()
        self._strangers: dict[Connection, float] = {}  # since when; the oldest first
        self._most = most_connections() // 2
        self._enough = min(MOST_STRANGERS, self._most)
        self._unreadable = 0  # requests that nothing was said of yet
        self._reason = ""
        self._quiet_until = 0.0
        self._loop = asyncio.get_running_loop()
        self.handshakes: Handshakes | None = None  # of doors under TLS, which few gateways have
        self._doors: dict[socket.socket, asyncio.Server] = {}
        self.stays = True
        """Whether connections may carry more than one request."""

    def connection(self) -> Connection:
        """A connection, to be made."""
        return Connection(self, self._loop)

    async def listen(
        self, sock: socket.socket, around: Callable[[Connection], asyncio.BaseProtocol] = lambda made: made
    ) -> None:
        """Take the connections of a socket that listens; `around` is put between the socket and each."""

        def make() -> asyncio.BaseProtocol:
            return around(self.connection())

        if sock.family in OF_NETWORKS:
            self._doors[sock] = await self._loop.create_server(make, sock=sock, backlog=BACKLOG)
        else:
            self._doors[sock] = await self._loop.create_unix_server(make, sock=sock, backlog=BACKLOG)

    def close(self, sock: socket.socket) -> None:
        """Take no more of this one; connections that it brought go on."""
        (self._doors.get(sock) or sock).close()

    def close_after_answers(self) -> None:
        """From now on each connection ends with the answer under way, or its next one."""
        self.stays = False
        for connection in tuple(self._all):
            connection.stays = False

    def end_now(self) -> None:
        """End whatever is under way."""
        for task in self._tasks():
            task.cancel()

    async def end(self, on_end: Callable[[], Awaitable[None]]) -> None:
        """End what is idle at once; turns as `on_end` does; other answers under way after LAST_GRACE."""
        for door in self._doors.values():
            door.close()
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
        if self.handshakes:
            self.handshakes.end()
        self._wheel.discard(self)
        self._tell_unreadable(float("inf"))

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for connection in self._all if (task := connection.task) is not None]

    def tick(self, now: float) -> None:
        """The time."""
        for connection in tuple(self._all):
            connection.tick(now)
        if self.handshakes:
            self.handshakes.tick(now)
        self._make_room(now)
        self._tell_unreadable(now)
        if not self._all and not self._unreadable and not self.handshakes:
            self._wheel.discard(self)

    def _make_room(self, now: float) -> None:
        while (count := len(self._strangers)) > self._enough:
            oldest, since = next(iter(self._strangers.items()))
            if count <= self._most and now - since < time_to_ask(count, self._enough):
                return
            self._end_or_read(oldest, now)

    def _end_or_read(self, stranger: Connection, now: float) -> None:
        """It gives way, unless its request is there to be read: then it has its time anew.

        A word takes a moment to be read, in which the connection is open: there is one while there is room.
        """
        del self._strangers[stranger]
        is_open = not stranger.transport.is_closing()
        if is_open and len(self._strangers) < self._most and has_unread(stranger.transport):
            self._strangers[stranger] = now
        else:
            stranger.give_way(in_words=len(self._all) < self._most)

    # -------------------------------------------------------------------------- the connections' side

    def knocks(self, handshake: asyncio.WriteTransport, address: str) -> None:
        """Somebody is there, whose handshake begins."""
        assert self.handshakes is not None
        self.handshakes.add(handshake, address, self._loop.time())
        self._wheel.add(self)

    def entered(self, handshake: asyncio.WriteTransport) -> None:
        """The handshake is over, well or not."""
        if self.handshakes:
            self.handshakes.discard(handshake)

    def made(self, connection: Connection) -> None:
        """It is there, without a key so far."""
        now = self._loop.time()
        self._all.add(connection)
        self._strangers[connection] = now
        self._wheel.add(self)
        self._make_room(now)
        if len(self._strangers) > MOST_OF_ONE:
            address = peer_of(connection.transport)
            if self.site.limits(address):
                self._limit(address, now)

    def _limit(self, address: str, now: float) -> None:
        """Hang up on the oldest without a key from this address, where they are many."""
        origin = origin_of(address)
        oldest, *others = (each for each in self._strangers if origin_of(peer_of(each.transport)) == origin)
        if len(others) >= MOST_OF_ONE and now - self._strangers[oldest] >= TIME_TO_ASK:
            self._end_or_read(oldest, now)

    def keyed(self, connection: Connection) -> None:
        """It came with a key."""
        self._strangers.pop(connection, None)

    def lost(self, connection: Connection) -> None:
        """It is gone."""
        self._all.discard(connection)
        self._strangers.pop(connection, None)

    def failed(self, request: Request, error: Exception) -> Response:
        """The answer to a request whose handler raised this."""
        return self.site.failed(request.path, refusals.failure_of(error))

    def unreadable(self, reason: str) -> None:
        """It sent what is no request: the log has a line for the first of many, and then now and then one."""
        self._unreadable += 1
        self._reason = reason or "it is malformed"
        self._tell_unreadable(self._loop.time())

    def _tell_unreadable(self, now: float) -> None:
        count = self._unreadable
        if not count or now < self._quiet_until:
            return
        self._unreadable = 0
        self._quiet_until = now + QUIET_SECONDS
        if count == 1:
            log.info("a request could not be read: %s", self._reason)
        else:
            log.info("%d more requests could not be read, the last one: %s", count, self._reason)

    async def hand_over(
        self, connection: Connection, head: Head, data: bytes, size: int, admission: Admission
    ) -> None:
        """Have the library go on with it, which begins with these bytes; so many of them are the head."""
        handler = await self._library.handler(self.site, head.path, admission)
        transport = connection.transport
        connection.handed_over()
        self._all.discard(connection)  # but without a key it still is one of the strangers
        if not transport.is_closing():
            OneRequest(handler, head, partial(self.lost, connection)).begin(transport, data, size)
            transport.resume_reading()


@asynccontextmanager
async def serving(
    site: Site,
    sockets: Iterable[socket.socket],
    *,
    wheel: Wheel,
    library: Library,
    on_end: Callable[[], Awaitable[None]],
) -> AsyncIterator[Server]:
    """The site at these sockets, which listen, for as long as the block lasts.

    A client that leaves ends the call to the service at once, also while that is silent.  `on_end` ends the
    turns.
    """
    server = Server(site, wheel, library)
    try:
        for listening in sockets:
            await server.listen(listening)
        yield server
    finally:
        await server.end(on_end)
        await library.end()
