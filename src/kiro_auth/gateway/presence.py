"""What programs of the user ask the gateway about itself: is it there, is it the one, may it end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web
from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.events import noted
from kiro_auth.failures import Failure
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.guard import Guard
from kiro_auth.gateway.proof import NONCE_HEADER, PATH, PROOF_HEADER, is_nonce
from kiro_auth.surfaces.anthropic import messages as anthropic

log = logging.getLogger("kiro_auth.gateway")

HEALTH: Final = ("/health", "/api/hello")
"""Where programs look whether the gateway is there: Claude Code at `/api/hello`, and at its base URL."""
OPEN: Final = (*HEALTH, "/", PATH)
"""What is answered without a key."""


class Presence(Struct):
    """The routes.  `stop` is set when the gateway shall end, `retire` when another one wants its place.

    `on_stay` hears that the gateway shall not end unused, `on_new_key` that another key is kept from now on.
    """

    guard: Guard
    stop: asyncio.Event
    retire: asyncio.Event
    on_stay: Callable[[], None] = lambda: None
    on_new_key: Callable[[], None] = lambda: None

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            *(web.get(path, self.health) for path in HEALTH),
            web.get(PATH, self._prove),
            web.post("/kiro/retire", self._retire),
            web.post("/kiro/stop", self._stop),
            web.post("/kiro/stay", self._stay),
            web.post("/kiro/new-key", self._take_new_key),
        ]

    async def health(self, _: web.Request) -> web.Response:
        """That it is there, and in which version."""
        body = {"status": "ok", "version": __version__}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    async def _prove(self, request: web.Request) -> web.Response:
        nonce = request.headers.get(NONCE_HEADER, "")
        if not is_nonce(nonce):
            message = f"{NONCE_HEADER} must be 16 to 128 characters of A-Z, a-z, 0-9, - and _."
            return failure_response(anthropic, Failure(code="KA-REQUEST", message=message))
        prover = self.guard.prover
        ours = prover.gateway_nonce(nonce, self.guard.clock())
        headers = {NONCE_HEADER: ours, PROOF_HEADER: prover.gateway_proof(nonce, ours)}
        return web.Response(status=204, headers=headers)

    async def _retire(self, _: web.Request) -> web.Response:
        self.retire.set()
        return web.Response(status=204)

    async def _stop(self, _: web.Request) -> web.Response:
        log.info("ends: it was told to stop", extra=noted("stopping", why="told"))
        self.stop.set()
        return web.Response(status=204)

    async def _stay(self, _: web.Request) -> web.Response:
        self.on_stay()
        return web.Response(status=204)

    async def _take_new_key(self, _: web.Request) -> web.Response:
        self.on_new_key()
        return web.Response(status=204)
