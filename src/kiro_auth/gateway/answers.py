"""Answers as aiohttp sends them: whole, as a stream, or a failure in an API's own shape."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from kiro_auth.conversation import Conversation
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


class Streams:
    """The streams under way in one gateway."""

    def __init__(self) -> None:
        self.stopping = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def send(
        self,
        request: web.Request,
        upstream: Rounds,
        pipe: Pipe,
        opening: bytes,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Write a stream as it comes; `pipe` says how it ended.  Raises nothing but cancellation."""
        response = web.StreamResponse(headers={**headers, **_STREAM_HEADERS})
        line = _Line(request, response, pipe)
        with self._counted():
            try:
                await response.prepare(request)
                with line.watched():
                    await line.write(opening)
                    while pipe.ended is None:
                        await line.write(await _next_bytes(upstream, pipe))
            except ConnectionError:
                pipe.leave()
                return response
            except asyncio.CancelledError:
                await line.end_early()
                raise
            with contextlib.suppress(ConnectionError):  # it has all it needs
                await response.write_eof()
        return response

    async def end(self) -> None:
        """Let the streams under way finish; end those that go on for longer than GRACE, with an error."""
        self.stopping = True
        for seconds in (GRACE, _LAST_WORD):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=seconds)
            for task in self._tasks:
                task.cancel()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)


class _Line:
    """The client's end of a stream."""

    def __init__(self, request: web.Request, response: web.StreamResponse, pipe: Pipe) -> None:
        self._request = request
        self._response = response
        self._pipe = pipe

    async def write(self, data: bytes) -> None:
        if data:
            self._pipe.pause()  # until the write returns, the client may not have taken it
            await self._response.write(data)
            self._pipe.resume()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Tells the pipe the time while the block lasts."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            if ping := self._pipe.tick(loop.time()):
                await self._ping(ping)
            if self._pipe.ended is not None and self._request.transport is not None:
                log.info("a client was hung up on: it took nothing for too long")
                self._request.transport.abort()
                return

    async def _ping(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._pipe.patience):
                await self._response.write(data)
        except TimeoutError:
            self._pipe.leave()
        except ConnectionError:
            pass  # the next write of the answer meets it, too

    async def end_early(self) -> None:
        """The answer was cancelled: by a client that left, or by the gateway, which writes a last word."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            self._pipe.leave()
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_LAST_WORD):
                await self._response.write(self._pipe.stop())


async def _next_bytes(upstream: Rounds, pipe: Pipe) -> bytes:
    try:
        data = await upstream.read()
        return pipe.data(data) if data else pipe.eof()
    except KiroAuthError as error:
        return pipe.broke(error.failure)
    except Exception:
        log.exception("a stream failed by a defect of this program")
        return pipe.broke(internal_failure())


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
