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

from kiro_auth.conversation import Conversation, Failed, Figure, Usage
from kiro_auth.events import Left
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.pipe import STOPPED, TICK, Pipe
from kiro_auth.gateway.rounds import Rounds
from kiro_auth.surfaces.surface import Encoder, Surface

log = logging.getLogger("kiro_auth.answers")

GRACE: Final = 10.0
"""Seconds that streams under way get when the gateway is asked to stop."""
_LAST_WORD: Final = 1.0
"""Seconds that an ending may take to be written when the gateway itself ends."""

_NOTHING_USED: Final = Usage(Figure(0, "estimated"), Figure(0, "estimated"))
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
        held: HeldStream | None = None,
    ) -> web.StreamResponse:
        """Write a stream as it comes; `pipe` says how it ended.  Raises nothing but cancellation.

        A stream that was `held` has its head already, without these `headers`.
        """
        line = _Line(request, held.response if held else _EventStream(headers), upstream, pipe)
        with self.counted(), self._told_the_time(line):
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
        return line.response

    def hold(self, request: web.Request, encoder: Encoder) -> HeldStream:
        """A stream that begins before there is an answer."""
        return HeldStream(request, _EventStream({}), encoder)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """The present task writes a stream for as long as the block lasts: `end` waits for it."""
        task = asyncio.current_task()
        assert task is not None
        known = task in self._tasks
        self._tasks.add(task)
        try:
            yield
        finally:
            if not known:
                self._tasks.discard(task)

    async def end(self) -> None:
        """Let the streams under way finish; end those that go on for longer than GRACE, with an error."""
        self.stopping = True
        for seconds in (GRACE, _LAST_WORD):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
            for task in self._tasks:
                task.cancel()

    @contextlib.contextmanager
    def _told_the_time(self, line: _Line) -> Iterator[None]:
        self._lines.add(line)
        if self._ticking is None:
            self._tick()
        try:
            yield
        finally:
            self._lines.discard(line)
            line.let_go()

    def _tick(self) -> None:
        """Tell all streams the time, for as long as there are any: one timer for all of them."""
        loop = asyncio.get_running_loop()
        for line in self._lines:
            line.tick(loop.time())
        self._ticking = loop.call_later(TICK, self._tick) if self._lines else None


class HeldStream:
    """A stream whose head was sent before there is an answer; a failure ends it in the API's own form."""

    def __init__(self, request: web.Request, response: web.StreamResponse, encoder: Encoder) -> None:
        self.response = response
        self._request = request
        self._encoder = encoder

    async def begin(self, note: str) -> None:
        """Send the head, and a comment, which every reader of such streams leaves out."""
        await self.response.prepare(self._request)
        with contextlib.suppress(ConnectionError):  # one that has left cancels what is done for it
            await self.response.write(f": {note}\n\n".encode())

    def ping(self) -> None:
        """Keep the line alive."""
        self._write(self._encoder.ping())

    async def end(self, failure: Failure) -> web.StreamResponse:
        """No answer comes."""
        with contextlib.suppress(ConnectionError):
            await self.response.write_eof(self._last_words(failure))
        return self.response

    def end_early(self) -> None:
        """The gateway itself ends."""
        self._write(self._last_words(STOPPED))

    def _last_words(self, failure: Failure) -> bytes:
        return self._encoder.encode([Failed(failure, _NOTHING_USED)])

    def _write(self, data: bytes) -> None:
        chunked = self._request.version >= HttpVersion11
        _write_at_once(self._request.transport, data, chunked=chunked)


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
            await self._upstream.flow(self._take)
            data = b"" if self.over() else self._pipe.eof()
        except Exception as error:
            data = self._broke(error)
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
        """The time: a ping when it is due; a client that took nothing for too long is hung up on."""
        if self.over():
            return
        self._write(self._pipe.tick(now))
        if isinstance(self._pipe.ended, Left) and self._request.transport is not None:
            log.info("a client was hung up on: it took nothing for too long")
            self._request.transport.abort()

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
        log.error("a stream failed by a defect of this program", exc_info=error)
        return self._pipe.broke(internal_failure())

    def _on_writable(self, writable: bool) -> None:
        if writable:
            self._pipe.resume()
            self._upstream.resume()
        else:
            self._pipe.pause()
            self._upstream.pause()

    def _write(self, data: bytes) -> None:
        _write_at_once(self._request.transport, data, chunked=self._chunked)


def _write_at_once(transport: asyncio.Transport | None, data: bytes, *, chunked: bool) -> None:
    """Without aiohttp's writer, a coroutine that costs more than all else that an event does."""
    if data and transport is not None and not transport.is_closing():
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)


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


def internal_failure() -> Failure:
    """What a client is told of a defect of ours; the log has the rest."""
    return Failure(
        code="KA-INTERNAL",
        message="The gateway made a mistake; its log says more.",
        next_step="Please report it.",
    )
