"""What programs of the user ask the gateway about itself: is it there, is it the one, may it end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

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
OPEN: Final = (*HEALTH, PATH)
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

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {
            **{f"GET {path}": Route(self._health) for path in HEALTH},
            f"GET {PATH}": Route(self._prove),
            "POST /kiro/retire": Route(self._retire),
            "POST /kiro/stop": Route(self._stop),
            "POST /kiro/stay": Route(self._stay),
            "POST /kiro/new-key": Route(self._take_new_key),
        }

    def _health(self, _: Request) -> Response:
        return Response(msgspec.json.encode({"status": "ok", "version": __version__}))

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
