"""aiohttp's server without sockets: it gets its connections from ours, with a request that was let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, Self

from aiohttp import web

from kiro_auth.events import Caller
from kiro_auth.failures import Failure
from kiro_auth.gateway.http import refusals
from kiro_auth.gateway.http.limits import LINGER_SECONDS, MAX_HEADER
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Admission, Site

log = logging.getLogger("kiro_auth.server")

CALLER: Final = web.RequestKey("caller", Caller)
"""Under which a handler finds who sent the request."""
_NAME: Final = 256
"""Bytes of a header's name, beside those of its value."""


class LibraryServer:
    """Serves an application; see the module."""

    def __init__(self, runner: web.AppRunner, site: Site) -> None:
        self._runner = runner
        self._site = site
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def started(cls, app: web.Application, site: Site, grace: float) -> Self:
        """Begin to serve it.  When it ends, answers under way get so many seconds."""
        app.middlewares.insert(0, _let_in(site))
        app.on_response_prepare.append(_last)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=grace)
        await runner.setup()
        return cls(runner, site)

    def handler(self, path: str, admission: Admission) -> asyncio.Protocol:
        """A connection's protocol, for one request to this path."""
        manager = self._runner.server
        assert manager is not None, "the runner was set up"
        return _Connection(manager, self._loop, self._site, path, admission)

    async def end(self) -> None:
        """End the connections."""
        await self._runner.cleanup()


class _Connection(web.RequestHandler):
    """A connection that carries the one request that was let in."""

    __slots__ = ("_admission", "_path", "_site", "more")

    def __init__(
        self,
        manager: web.Server,
        loop: asyncio.AbstractEventLoop,
        site: Site,
        path: str,
        admission: Admission,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            logger=log,
            access_log=None,  # type: ignore[arg-type]  # as an AppRunner hands it on
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER + _NAME,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._site = site
        self._path = path
        self._admission: Admission | None = admission
        self.more = admission.more

    def admission(self, path: str) -> Admission | None:
        """How the request was let in, if aiohttp reads the same path; another one behind it was not."""
        admission, self._admission = self._admission, None
        return admission if path == self._path else None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a head that aiohttp cannot read though we could, and to what a handler raised.

        Raises ConnectionError, which ends it, where the client has left or has a part of an answer.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if status < 500:
            failure = Failure(code="KA-REQUEST", message="The request's head cannot be read.")
            response = _response(self._site.failed(request.path, failure, status))
        else:
            response = _response(self._site.failed(request.path, refusals.failure_of(exc)))
        if request.writer.output_size:
            raise ConnectionError("an answer has begun")
        _close_after(response, self.more)
        return response


def _let_in(site: Site) -> Callable[..., Awaitable[web.StreamResponse]]:
    """What stands before the handlers: who sends the request, and failures in the shape of the APIs."""

    @web.middleware
    async def let_in(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        admission = _admission(request)
        if admission is None:
            failure = Failure(code="KA-REQUEST", message="The request's path cannot be read.")
            return _response(site.failed(request.path, failure, 400))
        if admission.secured:
            request = request.clone(scheme="https")
        request[CALLER] = admission.caller
        if admission.is_use:
            site.begin()
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            message = f"The request is refused: {error.reason}."
            failure = Failure(code="KA-REQUEST", message=message)
            return _response(site.failed(request.path, failure, error.status), _methods(error))
        finally:
            if admission.is_use:
                site.end()

    return let_in


def _admission(request: web.Request) -> Admission | None:
    return request.protocol.admission(request.path) if isinstance(request.protocol, _Connection) else None


async def _last(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(request.protocol, _Connection):
        _close_after(response, request.protocol.more)


def _close_after(response: web.StreamResponse, more: str) -> None:
    """The answer is the last one of its connection: the next request has to be let in anew."""
    response.force_close()
    response.headers["Connection"] = "close"
    for line in more.splitlines():
        name, _, value = line.partition(": ")
        response.headers[name] = value


def _methods(error: web.HTTPException) -> dict[str, str]:
    """Which methods there are, where it was another one."""
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


def _response(made: Response, more: Mapping[str, str] = MappingProxyType({})) -> web.Response:
    headers = {**made.headers, **more}
    return web.Response(status=made.status, headers=headers, body=made.body, content_type=made.kind)
