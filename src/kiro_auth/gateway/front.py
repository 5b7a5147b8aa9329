"""What stands before everything: who is let in, where a request leads, and failures in each API's shape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from kiro_auth.addresses import is_loopback
from kiro_auth.failures import Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.cors import answer_to_preflight, is_preflight, readable
from kiro_auth.gateway.guard import OWNER, Guard
from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.request_id import naming, new_request_id
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.site import Admission, Refusal, peer_of
from kiro_auth.gateway.paths import SURFACES, plain, surface_at
from kiro_auth.gateway.presence import OPEN
from kiro_auth.keys import rules

if TYPE_CHECKING:
    from kiro_auth.gateway.refused import Refused

_ADDRESSES: Final = ", ".join((*SURFACES, "/v1/models"))


class Front:
    """The site of one gateway.  `library` serves what `routes` do not."""

    def __init__(self, guard: Guard, activity: Activity, routes: Routes, library: Library) -> None:
        self._refused: Refused | None = None
        self._guard = guard
        self._activity = activity
        self._routes = routes
        self._library = library

    def admit(self, head: Head, transport: asyncio.BaseTransport) -> Admission | Refusal:
        """What becomes of the request with this head: the key is looked at before all else."""
        preflight = is_preflight(head)
        keyed = not (preflight or head.path in OPEN or self._library.is_open(head.path))
        caller = self._guard.admit(head.headers, key_needed=keyed)
        request_id = new_request_id()
        more = naming(request_id)
        if self._guard.lets_read(head.headers):
            more += readable(head.headers)
        if isinstance(caller, Failure):
            self._tell(caller, head, peer_of(transport))
            return Refusal(self.failed(head.path, caller), more)
        if preflight:
            return Refusal(answer_to_preflight(head.headers), more)
        route = None
        for_clients = not keyed or self._library.is_for_clients(head.path)
        if not self._library.has(head):
            route = self._routes.find(head.method, head.path)
            if route is None:
                address = plain(head.path)
                route = self._routes.find(head.method, address)
                if route is None:
                    return Refusal(self._not_here(head, address), more)
            for_clients = for_clients or route.for_clients
        if caller != OWNER and not for_clients:
            return Refusal(self.failed(head.path, rules.administration(caller.name), 403), more)
        is_use = route is not None or self._library.is_use(head.path)
        secured = route is None and self._guard.proxies.secured(peer_of(transport), head.headers)
        return Admission(caller, route, keyed, request_id, more, is_use, secured)

    def limits(self, address: str) -> bool:
        """Whether connections from there without a key are to be few: not this machine's, or a proxy's."""
        return not is_loopback(address) and not self._guard.proxies.has(address)

    def _tell(self, failure: Failure, head: Head, peer: str) -> None:
        client = self._guard.proxies.client(peer, head.headers, head.all("x-forwarded-for"))
        if client and not is_loopback(client):
            if self._refused is None:
                from kiro_auth.gateway.refused import Refused  # most gateways have nobody to refuse

                self._refused = Refused()
            self._refused.tell(client, failure, self._guard.clock())

    def failed(self, path: str, failure: Failure, status: int | None = None) -> Response:
        """A failure in the shape of the API that the path is of; `status`: another than it has there."""
        return failure_response(surface_at(path), failure, status)

    def begin(self) -> None:
        """A request that is use of the gateway is under way."""
        self._activity.begin()

    def end(self) -> None:
        """It no longer is."""
        self._activity.end()

    def _not_here(self, head: Head, address: str) -> Response:
        """No route takes the request.  Codex asks for a WebSocket first; after 426 it goes on over HTTP."""
        methods = self._routes.methods(address)
        if methods and head.headers.get("upgrade", "").lower() == "websocket":
            failure = Failure(code="KA-REQUEST", message="There is no WebSocket here, HTTP alone.")
            return self._told(head, failure, 426, {"Upgrade": "HTTP/1.1"})
        failure = Failure(
            code="KA-REQUEST",
            message=f"There is no {head.method} {head.path[:80]} here.",
            next_step=f"There are {_ADDRESSES}.",
        )
        if methods:
            return self._told(head, failure, 405, {"Allow": ", ".join(methods)})
        return self._told(head, failure, 404, {})

    def _told(self, head: Head, failure: Failure, status: int, headers: dict[str, str]) -> Response:
        made = self.failed(head.path, failure, status)
        return Response(made.body, made.status, {**made.headers, **headers})
