"""What people and their programs watch the gateway with: the dashboard, and `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kiro_auth.events import Caller
from kiro_auth.gateway.guard import OWNER

if TYPE_CHECKING:
    from aiohttp import web

    from kiro_auth.gateway.control import Control
    from kiro_auth.gateway.me import Me
    from kiro_auth.gateway.parts import Parts
    from kiro_auth.gateway.relay import Relay
    from kiro_auth.ledger.protocol import Ledger
    from kiro_auth.metrics.counters import Counters


class Watching:
    """Both, over one gateway; `ledger` has its turns, None where none is kept.

    Neither they nor what they are made with are imported before somebody asks for them.
    """

    def __init__(
        self,
        parts: Parts,
        control: Control,
        relay: Relay,
        counters: Counters,
        ledger: Ledger | None,
        me: Me,
    ) -> None:
        self._me = me
        self._parts = parts
        self._control = control
        self._relay = relay
        self._counters = counters
        self._ledger = ledger

    def application(self) -> web.Application:
        """What serves both."""
        from aiohttp import web

        from kiro_auth.dashboard.oidc.company import company_of
        from kiro_auth.dashboard.oidc.entrance import Entrance
        from kiro_auth.dashboard.oidc.provider import Provider
        from kiro_auth.dashboard.sessions import Sessions
        from kiro_auth.dashboard.site import Site
        from kiro_auth.dashboard.sources import Sources
        from kiro_auth.gateway.account_actions import AccountActions
        from kiro_auth.gateway.turn_lines import client_name
        from kiro_auth.metrics.endpoint import endpoint

        accounts, running = self._parts.pool.accounts, self._relay.running
        sources = Sources(
            accounts=accounts,
            unreadable=self._parts.pool.unreadable,
            usage_rows=self._usage_rows,
            running=running,
            ended=self._counters.turns.total,
            client_name=client_name,
            ledger=self._ledger,
            clock=self._parts.clock.now,
        )
        actions = AccountActions(self._parts, self._control)
        config, sessions = self._parts.config, Sessions()
        entrance = Entrance(
            lambda: company_of(config.dashboard_oidc),
            Provider(self._parts.other_lines),
            sessions,
            self._me,
        )
        site = Site(sources, actions, sessions, self._me, _holder_of, entrance)
        app = web.Application()
        app.add_routes([endpoint(self._counters, accounts, self._usage_rows, running), *site.routes()])
        app.on_shutdown.append(lambda _: site.live.end())
        return app

    def _usage_rows(self) -> Mapping[str, Mapping[str, Any]]:
        return self._parts.store.snapshot().usage_rows()


def _holder_of(request: web.Request) -> Caller | None:
    from kiro_auth.gateway.http.library_server import CALLER

    caller = request[CALLER]
    return None if caller == OWNER else caller
