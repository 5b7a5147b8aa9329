"""What stands before everything: who is let in, where a request leads, and failures in each API's shape.

It stands there before the rest of the gateway does: what only that can answer waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from kiro_auth.addresses import is_loopback
from kiro_auth.events import Caller
from kiro_auth.failures import Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.body import MAX_BODY
from kiro_auth.gateway.cors import answer_to_preflight, is_preflight, readable
from kiro_auth.gateway.guard import OWNER, Guard
from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.library import Library
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.request_id import naming, new_request_id
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.http.site import Admission, Refusal, Route, peer_of
from kiro_auth.gateway.paths import SURFACES, plain, surface_at
from kiro_auth.gateway.presence import OPEN
from kiro_auth.keys import rules

if TYPE_CHECKING:
    from kiro_auth.gateway.refused import Refused

_ADDRESSES: Final = ", ".join((*SURFACES, "/v1/models"))


class Front:
    """The site of one gateway.  `library` serves what `routes` do not.

    `complete` is done when there are all `routes`; until then requests with a key that have none wait for it,
    and `on_waiting` hears of each.
    """

    def __init__(
        self,
        guard: Guard,
        activity: Activity,
        routes: Routes,
        library: Library,
        complete: asyncio.Future[None] | None = None,
        on_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._refused: Refused | None = None
        self._guard = guard
        self._activity = activity
        self.routes = routes
        self._library = library
        self._complete = complete
        self._on_waiting = on_waiting

    def admit(self, head: Head, transport: asyncio.BaseTransport) -> Admission | Refusal:
        """What becomes of the request with this head: the key is looked at before all else."""
        preflight = is_preflight(head)
        keyed = not (preflight or head.path in OPEN or self._library.is_open(head.path))
        caller = self._guard.admit(head.headers, key_needed=keyed)
        request_id = new_request_id()
        more = naming(request_id)
        if self._guard.lets_read(head.headers):
            more += readable(head.headers)
        if not isinstance(caller, Caller):
            self._tell(caller, head, peer_of(transport))
            return Refusal(self.failed(head.path, caller), more)
        if preflight:
            return Refusal(answer_to_preflight(head.headers), more)
        route = None
        for_clients = not keyed or self._library.is_for_clients(head.path)
        if not self._library.has(head):
            route = self._route(head)
            if route is None:
                if not keyed or self._complete is None or self._complete.done():
                    return Refusal(self._not_here(head), more)
                route = Route(waiting=self._when_complete, limit=MAX_BODY, for_clients=True)
            for_clients = for_clients or route.for_clients
        if caller != OWNER and not for_clients:
            return Refusal(self._for_owner(head, caller), more)
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

    def _route(self, head: Head) -> Route | None:
        found = self.routes.find(head.method, head.path)
        return found or self.routes.find(head.method, plain(head.path))

    async def _when_complete(self, request: Request) -> Response | None:
        """The answer to a request that came before the route that it takes.  Raises KiroAuthError."""
        assert self._complete is not None, "requests wait for what is to come"
        self._on_waiting()
        await asyncio.shield(self._complete)
        route = self._route(request.head)
        if route is None:
            return self._not_here(request.head)
        if request.caller != OWNER and not route.for_clients:
            return self._for_owner(request.head, request.caller)
        if route.at_once is not None:
            return route.at_once(request)
        assert route.waiting is not None, "a route answers in one way or the other"
        return await route.waiting(request)

    def _for_owner(self, head: Head, caller: Caller) -> Response:
        return self.failed(head.path, rules.administration(caller.name), 403)

    def _not_here(self, head: Head) -> Response:
        """No route takes the request.  Codex asks for a WebSocket first; after 426 it goes on over HTTP."""
        methods = self.routes.methods(plain(head.path))
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
