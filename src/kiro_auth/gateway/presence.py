"""What programs of the user ask the gateway about itself: is it there, is it the one, may it end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from kiro_auth import __version__
from kiro_auth.events import noted
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.proof import NONCE_HEADER, PATH, PROOF_HEADER, is_nonce

log = logging.getLogger("kiro_auth.gateway")

HEALTH: Final = ("/health", "/", "/api/hello")
"""Where programs look whether the gateway is there: Claude Code at its base URL and at `/api/hello`."""
READY: Final = "/ready"
"""Where a balancer looks whether new requests may come."""
OPEN: Final = (*HEALTH, READY, PATH)
"""What is answered without a key."""


_FRESH_SECONDS: Final = 1.0
_STORE_SECONDS: Final = 1.5


class Presence(Struct):
    """The routes.

    `stop` is set when the gateway shall end, `retire` when another one wants its place, `drain` when it shall
    end after the balancers before it know.  `knows_accounts` asks the store, which may take long; None before
    the gateway is complete.

    `on_stay` hears that the gateway shall not end unused, `on_new_key` that another key is kept from now on.
    """

    guard: Guard
    knows_accounts: Callable[[], Coroutine[Any, Any, bool]] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    retire: asyncio.Event = field(default_factory=asyncio.Event)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    on_stay: Callable[[], None] = lambda: None
    on_new_key: Callable[[], None] = lambda: None
    asking: asyncio.Task[bool] | None = None
    asked_at: float = 0.0

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {
            **{f"GET {path}": Route(self._health) for path in HEALTH},
            f"GET {READY}": Route(waiting=self._ready),
            f"GET {PATH}": Route(self._prove, is_prelude=True),
            "POST /kiro/retire": Route(self._retire),
            "POST /kiro/stop": Route(self._stop),
            "POST /kiro/stay": Route(self._stay),
            "POST /kiro/new-key": Route(self._take_new_key),
        }

    def _health(self, _: Request) -> Response:
        return Response(msgspec.json.encode({"status": "ok", "version": __version__}))

    async def _ready(self, _: Request) -> Response:
        if any(event.is_set() for event in (self.stop, self.retire, self.drain)):
            status = "draining"
        elif self.knows_accounts is None:
            status = "starting"
        else:
            status = "ready" if await self._has_accounts(self.knows_accounts) else "no store"
        return Response(msgspec.json.encode({"status": status}), 200 if status == "ready" else 503)

    async def _has_accounts(self, knows_accounts: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
        """As the store says, or said within the last second; one that says nothing in time has none.

        However many ask, the store is asked once.
        """
        now = self.guard.clock()
        if self.asking is None or (self.asking.done() and now - self.asked_at >= _FRESH_SECONDS):
            self.asking, self.asked_at = asyncio.create_task(knows_accounts()), now
        await asyncio.wait([self.asking], timeout=_STORE_SECONDS)
        return self.asking.done() and self.asking.result()

    def _prove(self, request: Request) -> Response:
        nonce = request.headers.get(NONCE_HEADER, "")
        if not is_nonce(nonce):
            message = f"{NONCE_HEADER} must be 16 to 128 characters of A-Z, a-z, 0-9, - and _."
            raise TurnFailed(Failure(code="KA-REQUEST", message=message))
        prover = self.guard.prover
        ours = prover.gateway_nonce(nonce, self.guard.clock())
        headers = {NONCE_HEADER: ours, PROOF_HEADER: prover.gateway_proof(nonce, ours)}
        return Response(status=204, headers=headers)

    def _retire(self, _: Request) -> Response:
        self.retire.set()
        return Response(status=204)

    def _stop(self, _: Request) -> Response:
        log.info("ends: it was told to stop", extra=noted("stopping", why="told"))
        self.stop.set()
        return Response(status=204)

    def _stay(self, _: Request) -> Response:
        self.on_stay()
        return Response(status=204)

    def _take_new_key(self, _: Request) -> Response:
        self.on_new_key()
        return Response(status=204)
