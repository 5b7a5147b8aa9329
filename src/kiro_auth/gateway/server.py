"""The HTTP server under the application: its limits, and answers to what is no readable request.

aiohttp answers what it cannot parse before any application hears of it, as plain text and with a traceback in
the log.  Here such a request is answered like any other failure, in the shape of the API it was for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from kiro_auth.failures import DEFECT, Failure
from kiro_auth.gateway import answers
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.paths import surface_at

log = logging.getLogger("kiro_auth.server")

MAX_HEADER: Final = 64 * 1024
"""Bytes of the request line, and of one header: Codex's `x-codex-turn-metadata` grows with the work trees."""
_NAME: Final = 256
"""Bytes of its name beside."""
LAST_GRACE: Final = 2.0
"""Seconds that other answers get after the streams have ended."""
_LINGER: Final = 1.0
"""Seconds for which a client may still send what nobody reads; a line that is cut takes the answer along."""
_REQUEST_LINE: Final = re.compile(rb"[^\s:]{1,40} +(?:https?://[^/\s]*)?(/[^\s?]{0,100})")
_MANY: Final = "Too many headers"


class _Connection(answers.Connection):
    """One client's connection."""

    _path = "/"
    _refused = False

    def data_received(self, data: bytes) -> None:
        """Takes what was read; of what follows an unreadable head nothing."""
        if self._refused:
            return
        if line := _REQUEST_LINE.match(data):
            self._path = line[1].decode("ascii", "replace")
        super().data_received(data)
        self._end_broken_body()

    def _end_broken_body(self) -> None:
        """Tell whoever reads a body that the rest of it is malformed, such as a chunk without a size.

        aiohttp queues such an error behind the request, whose body then never ends: whatever stands in the
        queue before the end of a body is one.
        """
        current = self._current_request
        if current is None or not self._messages or current.content.is_eof():
            return
        self._messages.clear()
        self._refused = True
        current.content.set_exception(web.RequestPayloadError("it is malformed"))
        current.content.feed_eof()
        self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that cannot be read, or that a defect of the program left unanswered."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        if isinstance(exc, UnicodeEncodeError) and _hold_no_text(request.headers):
            status = 400  # aiohttp itself cannot answer an `Expect` of such bytes
        failure = _unreadable(exc) if status < 500 else DEFECT
        if status < 500:
            self._refused = True
            log.info("a request could not be read: %s", type(exc).__name__)
        else:
            log.error("a request failed by a defect of this program", exc_info=exc)
        response = failure_response(surface_at(self._path), failure)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the answer; one that aiohttp made by itself, in the shape of the API."""
        if isinstance(resp, web.HTTPException):
            words = f"The request is refused: {resp.reason}."
            failure = Failure(code="KA-REQUEST", message=words)
            status, resp = resp.status, failure_response(surface_at(request.path), failure)
            resp.set_status(status)
        sent = await super().finish_response(request, resp, start_time)
        if self._refused:
            await self._linger()
        return sent

    async def _linger(self) -> None:
        if self.transport is not None and self.transport.can_write_eof():
            with contextlib.suppress(OSError):
                self.transport.write_eof()
            await asyncio.sleep(_LINGER)  # ends with the connection, too


def _hold_no_text(headers: Mapping[str, str]) -> bool:
    """Whether there are bytes in headers that are no text; they come as halves of characters."""
    return any("\udc80" <= letter <= "\udcff" for value in headers.values() for letter in value)


def _unreadable(error: BaseException | None) -> Failure:
    """What is wrong with the head, without a word of it: it may hold the key."""
    said = str(getattr(error, "message", "")).partition("\n")[0].strip(" :.")
    if isinstance(error, LineTooLong) or said.startswith(_MANY):
        return Failure(
            code="KA-HEADERS",
            message=f"A header of the request is larger than {MAX_HEADER >> 10} KiB, or there are too many.",
            next_step="Leave out what other programs add to the request.",
        )
    reason = f": {said}" if said and not re.search("['\"/]", said) else ""
    return Failure(code="KA-REQUEST", message=f"The request's head cannot be read{reason}.")


@asynccontextmanager
async def serving(
    app: web.Application, sockets: Iterable[socket.socket]
) -> AsyncIterator[Callable[[socket.socket], None]]:
    """The application at these sockets, which listen, for as long as the block lasts.

    What is given closes one of them before; connections that it took go on.  A client that leaves ends the
    call to the service at once, also while that is silent.
    """
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=LAST_GRACE)
    await runner.setup()
    loop = asyncio.get_running_loop()
    manager = runner.server
    assert manager is not None, "the runner was set up"

    def connection() -> _Connection:
        return _Connection(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # as an AppRunner hands it on
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER + _NAME,
            auto_decompress=False,  # `body` does, once the key is checked
        )

    servers = {}
    try:
        for listening in sockets:
            servers[listening] = await loop.create_server(connection, sock=listening)
        yield lambda listening: servers[listening].close()
    finally:
        for server in servers.values():
            server.close()
        await runner.cleanup()
