"""The connections to services: one is kept for the next request when an answer was complete.

What is not chat is called with `call`, which bounds the time of the whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Final

from kiro_auth import __version__
from kiro_auth.kiro.edge.answer import Answer, LineFailed
from kiro_auth.kiro.edge.clock import ServiceClock
from kiro_auth.kiro.edge.connecting import Place, authorization, connected, place_of
from kiro_auth.kiro.edge.proxies import proxy_for
from kiro_auth.kiro.edge.transport import Connection
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.unread import has_unread

CONNECT_SECONDS: Final = 15.0
"""How long a connection, TLS included, may take to come about."""
KEEP_ALIVE: Final = 50.0
"""Seconds for which an idle connection is kept; load balancers of AWS close them after 60."""
_HEADERS: Final = {
    "User-Agent": f"opencode-kiro-auth/{__version__}",
    # Compression would hold events back; what comes compressed all the same is still decoded.
    "Accept-Encoding": "identity",
}
_END_SECONDS: Final = 1.0
_SETTINGS_SECONDS: Final = 60.0
"""For how long it is kept which proxy leads to a host: to find out takes longer than to send a request."""
_MOST_WAYS: Final = 256
"""Of addresses and proxies; some addresses name an account."""


class Lines:
    """See the module; to be entered as a block.  `clock` hears the time of every answer."""

    def __init__(self, trust: Trust, clock: ServiceClock | None = None) -> None:
        self._trust = trust
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Place, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._remembered: set[Connection] = set()  # those whose TLS session was kept, which takes its time
        self._sweep: asyncio.TimerHandle | None = None
        self._ways: dict[tuple[str, str | None], tuple[Place, str]] = {}  # by URL and own proxy
        self._ways_until = 0.0

    @contextlib.asynccontextmanager
    async def call(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        seconds: float,
        proxy: str | None = None,
        method: str = "POST",
    ) -> AsyncIterator[Answer]:
        """The answer, for a block that reads it; it and the block may take so long.  Raises LineFailed."""
        answer = None
        try:
            async with asyncio.timeout(seconds):
                answer = await self.ask(url, headers, body, silence=seconds, proxy=proxy, method=method)
                yield answer
        except TimeoutError as error:
            raise LineFailed("silent") from error
        finally:
            if answer is not None:
                answer.close()

    async def ask(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        silence: float,
        proxy: str | None,
        method: str = "POST",
    ) -> Answer:
        """Send the body; the answer, as soon as its head is there, to be closed.  Raises LineFailed.

        `silence` is how long, in seconds, the host may say nothing; `proxy` the way that is taken instead of
        the one that the environment names.  Redirects are answers as any: a token goes to the named host or
        nowhere.
        """
        place, begun = self._way(url, proxy)
        head = _head(method, begun, headers, len(body))
        connection = self._kept(place) or await self._connected(place, min(CONNECT_SECONDS, silence))
        try:
            answer = await connection.ask(head, body, silence)
            if self._clock is not None:
                self._clock.heard(answer.headers.get("date"))
        except BaseException:
            connection.leave(complete=False)
            raise
        return answer

    async def __aenter__(self) -> Lines:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        ended = [connection.end() for connection in self._all]
        if ended:
            await asyncio.wait(ended, timeout=_END_SECONDS)

    def _way(self, url: str, proxy: str | None) -> tuple[Place, str]:
        """Where the URL leads, and how a head for it begins; the proxy is looked up now and then."""
        now = self._loop.time()
        if now >= self._ways_until:
            self._ways.clear()
            self._ways_until = now + _SETTINGS_SECONDS
        way = self._ways.get((url, proxy))
        if way is None:
            if len(self._ways) >= _MOST_WAYS:
                self._ways.clear()
            place, path = place_of(url, proxy or proxy_for(url))
            way = self._ways[url, proxy] = place, _begun(place, path)
        return way

    async def _connected(self, place: Place, seconds: float) -> Connection:
        if place.scheme == "https" or (place.proxy or "").startswith("https:"):
            await self._trust.ready()
        made = partial(Connection, place, self)
        try:
            async with asyncio.timeout(seconds):
                connection = await connected(made, place, self._trust)
        except TimeoutError as error:
            raise LineFailed("slow") from error
        if connection.lost:  # the host ended it as it began
            raise LineFailed("refused")
        self._all.add(connection)
        return connection

    def _kept(self, place: Place) -> Connection | None:
        """One that can be used: neither too old nor ended by the other side.

        A request is not sent twice, as it costs; so a connection is looked at before.
        """
        idle = self._idle.get(place, [])
        oldest = self._loop.time() - KEEP_ALIVE
        while idle:
            connection = idle.pop()
            if connection.idle_since >= oldest and _is_quiet(connection):
                return connection
            connection.transport.abort()
        return None

    def on_free(self, connection: Connection) -> None:
        """Keep it for the next request."""
        connection.idle_since = self._loop.time()
        self._idle.setdefault(connection.place, []).append(connection)
        if connection not in self._remembered:
            self._remembered.add(connection)
            self._trust.remember(connection.transport)
        if self._sweep is None:
            self._sweep = self._loop.call_later(KEEP_ALIVE, self._end_old)

    def on_lost(self, connection: Connection) -> None:
        """It is gone."""
        self._all.discard(connection)
        self._remembered.discard(connection)
        idle = self._idle.get(connection.place, [])
        with contextlib.suppress(ValueError):
            idle.remove(connection)
        if not idle:
            self._idle.pop(connection.place, None)

    def _end_old(self) -> None:
        loop = self._loop
        idle = [connection for kept in self._idle.values() for connection in kept]
        for connection in idle:
            if connection.idle_since <= loop.time() - KEEP_ALIVE:
                connection.transport.abort()
        self._sweep = loop.call_later(KEEP_ALIVE, self._end_old) if idle else None


def _begun(place: Place, path: str) -> str:
    """How the head of each request there goes on behind its method."""
    target = f"http://{place.authority}{path}" if place.asks_proxy else path
    sent = {"Host": place.authority, **_HEADERS}
    if place.asks_proxy and (words := authorization(place.proxy or "")):
        sent["Proxy-Authorization"] = words
    return _checked(f"{target} HTTP/1.1\r\n{_lines(sent)}", 1 + len(sent))


def _head(method: str, begun: str, headers: Mapping[str, str], length: int) -> bytes:
    lines = _checked(_lines(headers), len(headers))
    last = "" if method == "GET" else f"Content-Length: {length}\r\n"
    return f"{method} {begun}{lines}{last}\r\n".encode()


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def _checked(lines: str, count: int) -> str:
    """The lines, which are so many.  Raises ValueError."""
    if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
        raise ValueError("a header of a request holds the end of a line")
    return lines


def _is_quiet(connection: Connection) -> bool:
    """Whether nothing came on a connection that carries no request: its end may not have been seen yet."""
    if connection.lost or connection.transport.is_closing():
        return False
    return not has_unread(connection.transport)
