"""Streamed answers: what the service sends is written from within the callback that brought it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from kiro_auth.conversation import Failed as Broken
from kiro_auth.events import Failed, Left
from kiro_auth.failures import STOPPED, Failure, KiroAuthError
from kiro_auth.gateway.http.request import Request, Stream
from kiro_auth.gateway.http.wheel import Wheel
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.rounds import Rounds
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.surface import Encoder

log = logging.getLogger("kiro_auth.answers")

GRACE: Final = 10.0
"""Seconds that streams under way get, where nothing else is said."""
_LAST_WORD: Final = 1.0
"""Seconds that an ending may take to be written when the gateway itself ends."""

_NOTHING_USED: Final = Usage(Figure(0, "estimated"), Figure(0, "estimated"))
HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
"""Of every streamed answer."""


class Streams:
    """The answers under way in one gateway; to those that are streams `wheel` tells the time.

    `grace` says how many seconds all of them get when the gateway is asked to stop.
    """

    def __init__(self, wheel: Wheel, *, grace: Callable[[], float] = lambda: GRACE) -> None:
        self.stopping = False
        self.wheel = wheel
        self._grace = grace
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(
        self,
        stream: Stream,
        upstream: Rounds,
        pipe: Pipe,
        on_end: Callable[[], None],
    ) -> None:
        """Write a stream as it comes; `pipe` says how it ended.  Raises nothing but cancellation.

        `on_end` hears, once, when `pipe` knows it and the client does not yet.
        """
        line = _Line(stream, upstream, pipe, on_end)
        self.wheel.add(line)
        try:
            line.begin()
            while pipe.ended is None:
                await line.go_on()
            line.end()
        except asyncio.CancelledError:
            line.end_early()
            raise
        except Exception as error:
            line.fail(error)
        finally:
            self.wheel.discard(line)
            line.let_go()

    def begin(self) -> asyncio.Task[Any]:
        """The present task answers from now on: `end` waits for it."""
        task = asyncio.current_task()
        assert task is not None, "answers are given by tasks"
        self._tasks.add(task)
        return task

    def leave(self, task: asyncio.Task[Any]) -> None:
        """It has answered."""
        self._tasks.discard(task)

    def end_now(self) -> None:
        """End the answers under way, with an error."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()

    async def end(self) -> None:
        """Let the answers under way finish; end those that go on for longer than the grace, with an error."""
        self.stopping = True
        for seconds in (self._grace(), _LAST_WORD):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
            for task in self._tasks:
                task.cancel()


class HeldStream:
    """A stream whose head was sent before there is an answer; a failure ends it in the API's own form."""

    def __init__(self, request: Request, encoder: Encoder) -> None:
        self.stream = request.stream(HEADERS)
        self._encoder = encoder

    def begin(self, note: str) -> None:
        """Send the head, and a comment, which every reader of such streams leaves out."""
        self.stream.write(f": {note}\n\n".encode())

    def ping(self) -> None:
        """Keep the line alive."""
        self.stream.write(self._encoder.ping())

    def end(self, failure: Failure = STOPPED) -> None:
        """No answer comes; without a failure because the gateway itself ends."""
        self.stream.end(self._encoder.encode([Broken(failure, _NOTHING_USED)]))


class _Line:
    """The client's end of a stream, and the service's: one write for each read."""

    __slots__ = ("_last", "_limit", "_on_end", "_pipe", "_stream", "_upstream", "_write")

    def __init__(self, stream: Stream, upstream: Rounds, pipe: Pipe, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._write = stream.write
        self._upstream = upstream
        self._pipe = pipe
        self._on_end = on_end
        self._limit: asyncio.Timeout | None = None  # of the call to the service under way
        self._last = b""

    def begin(self) -> None:
        """Write the head, the opening, and what else is there by now."""
        opening = self._pipe.opening()
        while self._pipe.ended is None and self._upstream.at_hand:
            opening += self._next()
        client = self._stream.client
        client.on_writable = self._on_writable
        if not client.writable:
            self._on_writable(False)
        if self._pipe.ended is None:
            self._write(opening)
        else:
            self._last = opening

    async def go_on(self) -> None:
        """Carry one call to the service to its end."""
        try:
            async with asyncio.timeout(None) as self._limit:
                await self._upstream.flow(self._take)
            data = b"" if self._pipe.ended is not None else self._pipe.eof()
        except Exception as error:
            data = b"" if self._pipe.ended is not None else self._broke(error)
        self._limit = None
        if self._pipe.ended is not None:
            self._last += data
        else:
            self._write(data)

    def end(self) -> None:
        """Write what is last, and that it is all; the place of a client that takes nothing is free by now."""
        if self._stream.transport.is_closing() and self._last:  # else it has all it needs
            self._pipe.leave()
            self._on_end()
        else:
            self._on_end()
            self._stream.end(self._last)

    def tick(self, now: float) -> None:
        """The time: a ping when it is due; a client that took nothing for too long is hung up on.

        A service that gave nothing for too long is waited for no longer.
        """
        if self._pipe.ended is not None:
            return
        self._write(self._pipe.tick(now))
        if self._limit is not None and self._has_ended(Failed):
            self._limit.reschedule(now)
        if self._has_ended(Left):
            log.info("a client was hung up on: it took nothing for too long")
            self._stream.transport.abort()

    def _has_ended(self, how: type[Failed | Left]) -> bool:
        return isinstance(self._pipe.ended, how)

    def fail(self, error: Exception) -> None:
        """A defect of this program: the head may be out, so nothing but the last words may follow it."""
        words = self._pipe.defect(error)
        self._on_end()
        self._stream.end(words)

    def end_early(self) -> None:
        """The answer was cancelled: by a client that left, or by the gateway, which writes a last word."""
        if self._stream.transport.is_closing():
            self._pipe.leave()
            self._on_end()
        else:
            words = self._pipe.stop()
            self._on_end()
            self._stream.end(words)

    def let_go(self) -> None:
        """The stream is over."""
        self._stream.client.on_writable = None

    def _next(self) -> bytes:
        try:
            data = self._upstream.taken()
            return self._pipe.data(data) if data else self._pipe.eof()
        except Exception as error:
            return self._broke(error)

    def _take(self, data: bytes) -> bool:
        words = self._pipe.data(data)
        if self._pipe.ended is None:
            self._write(words)
            return True
        self._last = words
        return False

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
