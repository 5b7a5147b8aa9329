"""`GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from kiro_auth.accounts.account import Account
from kiro_auth.events import Running
from kiro_auth.metrics.addresses import PATH
from kiro_auth.metrics.counters import Counters


def endpoint(
    counters: Counters,
    accounts: Callable[[], Sequence[Account]],
    usage_rows: Callable[[], Mapping[str, Mapping[str, Any]]],
    running: Callable[[], Sequence[Running]],
) -> web.RouteDef:
    """The route; what it reads besides the counters, it reads when it is asked."""

    async def handle(request: web.Request) -> web.Response:
        from kiro_auth.metrics.exposition import Sources, exposition

        sources = Sources(accounts, usage_rows, running)
        body, content_type = exposition(counters, sources, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return web.get(PATH, handle)
