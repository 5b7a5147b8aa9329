"""What people and their programs watch the gateway with: the dashboard, and `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from kiro_auth.dashboard.sessions import Sessions
from kiro_auth.dashboard.site import EVENTS, FOLDER, Site
from kiro_auth.dashboard.sources import Sources
from kiro_auth.gateway.account_actions import AccountActions
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.parts import Parts
from kiro_auth.gateway.relay import Relay
from kiro_auth.gateway.turn_lines import client_name
from kiro_auth.metrics.counters import Counters
from kiro_auth.metrics.endpoint import PATH, endpoint

WATCHED: Final = (EVENTS, PATH)
"""What is asked for again and again by itself: it keeps no gateway alive that nobody uses."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Watching:
    """Both, over one gateway; `ledger` is the file of its turns, None where none is kept."""

    def __init__(
        self, parts: Parts, control: Control, relay: Relay, counters: Counters, ledger: Path | None
    ) -> None:
        self._parts = parts
        self._relay = relay
        self._counters = counters
        sources = Sources(
            accounts=parts.pool.accounts,
            usage_rows=self._usage_rows,
            running=relay.running,
            ended=counters.turns.total,
            client_name=client_name,
            ledger=ledger,
            clock=parts.clock.now,
        )
        self._site = Site(sources, AccountActions(parts, control), Sessions())

    def is_open(self, path: str) -> bool:
        """Whether a path needs no key: the dashboard has sessions of its own."""
        return path.startswith(FOLDER) or (path == PATH and self._parts.config.metrics_access == "open")

    def routes(self, health: Handler) -> list[web.RouteDef]:
        """What to add to the application; `health` answers programs that ask for `/`."""

        async def front(request: web.Request) -> web.StreamResponse:
            for_people = "text/html" in request.headers.get("Accept", "")
            return await (self._site.page if for_people else health)(request)

        running = self._relay.running
        figures = endpoint(self._counters, self._parts.pool.accounts, self._usage_rows, running)
        return [web.get("/", front), figures, *self._site.routes()]

    async def end(self) -> None:
        """The gateway ends: the streams of open pages do, too."""
        await self._site.live.end()

    def _usage_rows(self) -> Mapping[str, Mapping[str, Any]]:
        return self._parts.store.snapshot().usage_rows()
