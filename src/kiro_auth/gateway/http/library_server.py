"""aiohttp's server without sockets: it gets its connections from ours, with a request that was let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Self

from aiohttp import web

from kiro_auth.events import Caller
from kiro_auth.failures import DEFECT, Failure, KiroAuthError
from kiro_auth.gateway.http.limits import LINGER_SECONDS, MAX_HEADER
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Admission, Site

log = logging.getLogger("kiro_auth.server")

CALLER: Final = web.RequestKey("caller", Caller)
"""Under which a handler finds who sent the request."""
_MORE: Final = web.RequestKey("more", str)
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

    def handler(self, admission: Admission) -> asyncio.Protocol:
        """A connection's protocol, for one request."""
        manager = self._runner.server
        assert manager is not None, "the runner was set up"
        return _Connection(manager, self._loop, self._site, admission)

    async def end(self) -> None:
        """End the connections."""
        await self._runner.cleanup()


class _Connection(web.RequestHandler):
    """A connection that carries the one request that was let in."""

    __slots__ = ("_admission", "_more", "_site")

    def __init__(
        self, manager: web.Server, loop: asyncio.AbstractEventLoop, site: Site, admission: Admission
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
        self._admission: Admission | None = admission
        self._more = admission.more

    def admission(self) -> Admission | None:
        """How the request was let in; there is none for another one behind it."""
        admission, self._admission = self._admission, None
        return admission

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp answers to a head that it cannot read though we could, and to a defect."""
        if status < 500:
            failure = Failure(code="KA-REQUEST", message="The request's head cannot be read.")
            response = _response(self._site.failed(request.path, failure, status))
        else:
            log.error("a request failed by a defect of this program", exc_info=exc)
            response = _response(self._site.failed(request.path, DEFECT))
        _close_after(response, self._more)
        return response


def _let_in(site: Site) -> Callable[..., Awaitable[web.StreamResponse]]:
    """What stands before the handlers: who sends the request, and failures in the shape of the APIs."""

    @web.middleware
    async def let_in(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        admission = request.protocol.admission() if isinstance(request.protocol, _Connection) else None
        if admission is None:
            raise web.HTTPBadRequest
        request[CALLER], request[_MORE] = admission.caller, admission.more
        if admission.is_use:
            site.begin()
        try:
            return await handler(request)
        except KiroAuthError as error:
            return _response(site.failed(request.path, error.failure))
        except web.HTTPException as error:
            if error.status < 400:
                raise
            message = f"The request is refused: {error.reason}."
            failure = Failure(code="KA-REQUEST", message=message)
            return _response(site.failed(request.path, failure, error.status))
        except Exception:
            log.exception("a request failed by a defect of this program")
            return _response(site.failed(request.path, DEFECT))
        finally:
            if admission.is_use:
                site.end()

    return let_in


async def _last(request: web.Request, response: web.StreamResponse) -> None:
    _close_after(response, request.get(_MORE, ""))


def _close_after(response: web.StreamResponse, more: str) -> None:
    """The answer is the last one of its connection: the next request has to be let in anew."""
    response.force_close()
    response.headers["Connection"] = "close"
    for line in more.splitlines():
        name, _, value = line.partition(": ")
        response.headers[name] = value


def _response(made: Response) -> web.Response:
    return web.Response(status=made.status, headers=made.headers, body=made.body, content_type=made.kind)
