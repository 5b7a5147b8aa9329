"""A relay over accounts of files and a scripted service, and a client that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from kiro_auth.events import Listener, TurnEnded
from kiro_auth.failures import Failure
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.fallback import Rule
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.key_spending import OwnSpending
from kiro_auth.gateway.notices import Notices
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.relay import Relay
from kiro_auth.gateway.streams import Streams
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.surfaces.prefixes import Prefixes
from support.exchange import Answered, Client, Service, Step
from support.pool import NOW, Stage

TICK = 0.01
"""Seconds: time is one factor, and what takes seconds takes hundredths here."""


class Gateway:
    """A relay over two accounts, a scripted service, and somebody who hears of the turns.

    A `client` of the service takes the place of the scripted one.  Requests come from the `caller`.
    """

    def __init__(
        self,
        folder: Path,
        *script: Failure | list[Step],
        patience: float = 60.0,
        accounts: str = "ab",
        fallback: Sequence[Rule] = (),
        thrift: bool = False,
        wait_for_reset: float = 0,
        prefixes: Prefixes | None = None,
        client: KiroClient | None = None,
        listeners: Sequence[Listener] = (),
        keys: ClientKeys | None = None,
    ) -> None:
        self.caller = OWNER
        self.stage = Stage(folder, accounts, account_selection_strategy="sticky")
        self.service = Service(*script)
        self.client = Client()
        self.turns: list[TurnEnded] = []
        self.notices = Notices("all", clock=lambda: NOW)
        self.spending = OwnSpending(None)
        service = client or cast("KiroClient", self.service)
        catalog = Catalog(service, lambda *_: None, self.stage.pool)
        accounting = Accounting(self.stage.config, None, self.notices, clock=lambda: NOW)
        self.relay = Relay(
            self.stage.pool,
            service,
            catalog,
            accounting,
            Allowances(keys or ClientKeys(None), self.stage.pool, self.stage.store.places, self.spending),
            (self, self.notices, *accounting.listeners, *listeners),
            patience=patience,
            streams=Streams(Wheel(TICK)),
            prefixes=prefixes or Prefixes(lambda: NOW),
            fallback=fallback,
            thrift=thrift,
            wait_for_reset=wait_for_reset,
            on_pause=self.notices.on_pause,
        )

    def on_turn_ended(self, turn: TurnEnded) -> None:
        self.turns.append(turn)

    def asks(
        self, *, stream: bool, path: str = "/v1/messages", body: Any = None, **headers: str
    ) -> asyncio.Task[Answered]:
        usual = {
            "model": "claude-sonnet-4-5",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        request = self.client.request(
            path, body if body is not None else usual | {"stream": stream}, **headers
        )
        request.caller = self.caller
        answering = asyncio.create_task(self._answer(request, path))
        self.client.handler = answering
        return answering

    async def _answer(self, request: Request, path: str) -> Answered:
        return self.client.answered(await self.relay.answer(request, SURFACES[path]))

    @property
    def turn(self) -> TurnEnded:
        """The one turn that was told of."""
        [turn] = self.turns
        return turn
