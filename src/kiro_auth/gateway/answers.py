"""Answers as aiohttp sends them: whole, as a stream, or a failure in an API's own shape."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

import msgspec
from aiohttp import HttpVersion11, web

from kiro_auth.conversation import Conversation
from kiro_auth.events import Failed, Left
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.pipe import TICK, Pipe
from kiro_auth.gateway.rounds import Rounds
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.answers")

GRACE: Final = 10.0
"""Seconds that streams under way get when the gateway is asked to stop."""
_LAST_WORD: Final = 1.0
"""Seconds that an ending may take to be written when the gateway itself ends."""

_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class Connection(web.RequestHandler):
    """A client's connection; `on_writable` hears when the client takes nothing, and when it takes again."""

    on_writable: Callable[[bool], None] | None = None

    def pause_writing(self) -> None:
        """The client takes less than was written."""
        super().pause_writing()
        if self.on_writable is not None:
            self.on_writable(False)

    def resume_writing(self) -> None:
        """The client takes again."""
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable(True)


class _EventStream(web.StreamResponse):
    """A stream whose head goes out with its first words: one packet less."""

    _send_headers_immediately = False

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, **_STREAM_HEADERS})


class Streams:
    """The streams under way in one gateway."""

    def __init__(self) -> None:
        self.stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lines: set[_Line] = set()
        self._ticking: asyncio.TimerHandle | None = None

    async def send(
        self,
        request: web.Request,
        upstream: Rounds,
        pipe: Pipe,
        opening: bytes,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Write a stream as it comes; `pipe` says how it ended.  Raises nothing but cancellation."""
        line = _Line(request, _EventStream(headers), upstream, pipe)
        with self._counted(line):
            try:
                await line.begin(opening)
                while not line.over():
                    await line.go_on()
                await line.end()
            except ConnectionError:
                pipe.leave()
            except asyncio.CancelledError:
                line.end_early()
                raise
            except Exception as error:
                line.fail(error)
        return line.response

    async def end(self) -> None:
        """Let the streams under way finish; end those that go on for longer than GRACE, with an error."""
        self.stopping = True
        for seconds in (GRACE, _LAST_WORD):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
            for task in self._tasks:
                task.cancel()

    @contextlib.contextmanager
    def _counted(self, line: _Line) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._lines.add(line)
        if self._ticking is None:
            self._tick()
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._lines.discard(line)
            line.let_go()

    def _tick(self) -> None:
        """Tell all streams the time, for as long as there are any: one timer for all of them."""
        loop = asyncio.get_running_loop()
        for line in self._lines:
            line.tick(loop.time())
        self._ticking = loop.call_later(TICK, self._tick) if self._lines else None


class _Line:
    """The client's end of a stream, and the service's.

    What the service sends is written from within the callback that brought it, as one write for each read.
    """

    def __init__(
        self, request: web.Request, response: web.StreamResponse, upstream: Rounds, pipe: Pipe
    ) -> None:
        self.response = response
        self._request = request
        self._upstream = upstream
        self._pipe = pipe
        self._chunked = request.version >= HttpVersion11
        self._limit: asyncio.Timeout | None = None  # of the call to the service under way
        self._last = b""

    def over(self) -> bool:
        """Whether it is known how the answer ended."""
        return self._pipe.ended is not None

    async def begin(self, opening: bytes) -> None:
        """Write the head, the opening, and what else is there by now."""
        while not self.over() and self._upstream.at_hand:
            opening += await self._next()
        self._connection.on_writable = self._on_writable
        await self.response.prepare(self._request)
        if not self.over():
            await self.response.write(opening)
        else:
            self._last = opening

    async def go_on(self) -> None:
        """Carry one call to the service to its end."""
        try:
            async with asyncio.timeout(None) as self._limit:
                await self._upstream.flow(self._take)
            data = b"" if self.over() else self._pipe.eof()
        except Exception as error:
            data = b"" if self.over() else self._broke(error)
        self._limit = None
        if self.over():
            self._last = data
        else:
            self._write(data)

    async def end(self) -> None:
        """Write what is last, and say that it is all; the place of one who takes nothing is free by now."""
        if self._connection.writing_paused:
            self._write(self._last)
            return
        try:
            await self.response.write_eof(self._last)
        except ConnectionError:
            if self._last:  # else it has all it needs
                raise

    def tick(self, now: float) -> None:
        """The time: a ping when it is due; a client that took nothing for too long is hung up on.

        A service that gave nothing for too long is waited for no longer.
        """
        if self.over():
            return
        self._write(self._pipe.tick(now))
        if isinstance(self._pipe.ended, Failed) and self._limit is not None:
            self._limit.reschedule(now)
        if isinstance(self._pipe.ended, Left) and self._request.transport is not None:
            log.info("a client was hung up on: it took nothing for too long")
            self._request.transport.abort()

    def fail(self, error: Exception) -> None:
        """A defect of this program: the head may be out, so nothing but the last words may follow it."""
        self._write(self._pipe.defect(error))

    def end_early(self) -> None:
        """The answer was cancelled: by a client that left, or by the gateway, which writes a last word."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            self._pipe.leave()
        else:
            self._write(self._pipe.stop())

    def let_go(self) -> None:
        """The stream is over."""
        self._connection.on_writable = None

    @property
    def _connection(self) -> Connection:
        return cast("Connection", self._request.protocol)

    async def _next(self) -> bytes:
        try:
            data = await self._upstream.read()
            return self._pipe.data(data) if data else self._pipe.eof()
        except Exception as error:
            return self._broke(error)

    def _take(self, data: bytes) -> bool:
        self._write(self._pipe.data(data))
        return not self.over()

    def _broke(self, error: Exception) -> bytes:
        if isinstance(error, KiroAuthError):
            return self._pipe.broke(error.failure)
        return self._pipe.defect(error)

    def _on_writable(self, writable: bool) -> None:
        if writable:
            self._pipe.resume()
            self._upstream.resume()
        else:
            self._pipe.pause()
            self._upstream.pause()

    def _write(self, data: bytes) -> None:
        """Write at once: aiohttp's writer, a coroutine, costs more than all else that an event does."""
        transport = self._request.transport
        if data and transport is not None and not transport.is_closing():
            transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)


def whole(body: bytes, headers: Mapping[str, str]) -> web.Response:
    """A whole answer."""
    return web.Response(body=body, headers=headers, content_type="application/json")


def beside(conversation: Conversation) -> dict[str, str]:
    """The headers that tell a client what its API has no place for."""
    if not conversation.not_offered:
        return {}
    listed = ", ".join(conversation.not_offered)
    return {"x-kiro-tools-not-offered": in_header(listed)}


def in_header(text: str) -> str:
    """A client's words as a header can hold them: in one line, of printable ASCII."""
    return _NOT_IN_HEADERS.sub("?", text)


_NOT_IN_HEADERS: Final = re.compile(r"[^ -~]")


def failure_response(surface: Surface, failure: Failure) -> web.Response:
    """A failure before any output, in the API's shape."""
    # A header that it quotes may hold bytes that are no text; they come as halves of characters.
    failure = msgspec.structs.replace(
        failure, message=_as_text(failure.message), next_step=_as_text(failure.next_step or "") or None
    )
    error = surface.encode_failure(failure)
    return web.Response(
        status=error.status, headers=error.headers, body=error.body, content_type="application/json"
    )


def _as_text(words: str) -> str:
    return words.encode(errors="replace").decode()
