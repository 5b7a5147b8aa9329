"""One turn, from a client's request to the last byte of its answer.

Read `answer` as the way of one request: decode, pick an account, build the service's body, send it, and
let the service's bytes through the reply.  The status line waits for the service's first event, so that
what fails before it is a real HTTP error; what fails after it ends the stream in the API's own form.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import msgspec
from aiohttp import web

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Attempt, Pool
from kiro_auth.conversation import Conversation, Failed, Finished, ReplyEvent
from kiro_auth.failures import Cause, Failure, KiroAuthError, TurnFailed
from kiro_auth.gateway import request_log
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.reply import StreamedReply
from kiro_auth.kiro import payload
from kiro_auth.kiro.client import ChatReply, KiroClient
from kiro_auth.kiro.endpoints import Endpoint
from kiro_auth.kiro.payload import Payload
from kiro_auth.kiro.replies import Reader
from kiro_auth.surfaces.surface import Encoder, Surface

log = logging.getLogger("kiro_auth.relay")

SILENCE = 15.0
"""Seconds without a byte to the client after which a ping keeps the line alive; proxies cut at 60."""

GRACE = 10.0
"""Seconds that streams under way get when the gateway is asked to stop."""
_LAST_WORD = 1.0
"""Seconds that an ending may take to be written when the gateway itself ends."""

_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}


class Relay:
    """Answers turns with the accounts of one pool.

    `used` is told after every turn: the account, and the credits the service metered, if it did.  `switched`
    is told when another account's failure was why this one serves.
    `patience`, in seconds, is how long a client may take to read what was written.  `noted` is told of every
    turn what may be written down.
    """

    def __init__(
        self,
        pool: Pool,
        client: KiroClient,
        catalog: Catalog,
        used: Callable[[Account, float | None], None],
        *,
        switched: Callable[[Account, Failure], None],
        patience: float,
        noted: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._pool = pool
        self._client = client
        self._catalog = catalog
        self._used = used
        self._switched = switched
        self._patience = patience
        self._noted = noted
        self._streams: set[asyncio.Task[Any]] = set()

    async def end_streams(self) -> None:
        """Let the streams under way finish; end those that go on for longer than GRACE, with an error."""
        for patience in (GRACE, _LAST_WORD):
            if self._streams:
                await asyncio.wait(self._streams, timeout=patience)
            for task in self._streams:
                task.cancel()

    async def answer(self, request: web.Request, surface: Surface) -> web.StreamResponse:
        """The answer to one request; failures come in the surface's own shape."""
        begun, entry = time.monotonic(), {"api": request.path}
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            conversation = surface.decode(await request.read(), headers)
            entry |= request_log.asked(request.path, conversation)
            return await self._turn(request, surface, conversation, entry)
        except KiroAuthError as error:
            failure = _naming_the_model(error.failure, entry.get("model"))
            entry |= request_log.failed(failure)
            _log(failure)
            return failure_response(surface, failure)
        except (web.HTTPException, web.RequestPayloadError):
            raise  # a body that is too large or cannot be read, in the application's words
        except Exception:
            log.exception("a turn failed by a defect of this program")
            entry |= request_log.failed(internal_failure())
            return failure_response(surface, internal_failure())
        finally:
            self._noted({**entry, "seconds": round(time.monotonic() - begun, 3)})

    async def _turn(
        self, request: web.Request, surface: Surface, conversation: Conversation, entry: dict[str, Any]
    ) -> web.StreamResponse:
        turn = _Turn(conversation, self._catalog)
        suits = partial(self._catalog.may_have, conversation.model)
        async for attempt in self._pool.attempts(session=conversation.session, suits=suits):
            async with attempt as account:
                async with attempt.time_limit():
                    await self._catalog.look_up(conversation.model, account)
                turn.prepare(account, attempt.earlier)
                async with (
                    attempt.time_limit() as limit,
                    self._client.chat(credentials_of(account), turn.body) as upstream,
                ):
                    reader = turn.reader(upstream.request_id)
                    events = await _first_events(upstream, reader)
                    limit.reschedule(None)  # it speaks: from here on only silence ends it
                    entry |= {"account": account.name, **turn.sent(attempt.earlier)}
                    self._tell_of_a_switch(account, attempt.earlier)
                    if conversation.stream:
                        reply = StreamedReply(reader, turn.encoder(surface))
                        attempt.commit()
                        with self._counted():
                            try:
                                response = await self._stream(request, upstream, reply, events)
                            finally:
                                entry |= request_log.answered(reply.outcome)
                        if isinstance(reply.outcome, Failed):
                            attempt.broke(reply.outcome.failure)
                            _log(reply.outcome.failure)
                        self._note(account, reply.outcome)
                        return response
                    entry |= request_log.answered(None)
                    events = await _all_events(upstream, reader, events)
                    self._note(account, events[-1])
                    entry |= request_log.answered(events[-1])
                    return turn.whole(surface, events, attempt)
        raise AssertionError("attempts end with an answer or an exception")

    async def _stream(
        self, request: web.Request, upstream: ChatReply, reply: StreamedReply, events: list[ReplyEvent]
    ) -> web.StreamResponse:
        """Write the reply as it comes.  After this begins nothing is raised but cancellation."""
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        try:
            await response.prepare(request)
            async with _Line(request, response, reply, self._patience) as line:
                await line.write(reply.opening(events))
                while not reply.ended:
                    await line.write(await _next_bytes(upstream, reply))
            await response.write_eof()
        except ConnectionError:
            log.debug("the client left")
        except asyncio.CancelledError:
            # The client left, and nobody reads this; or the gateway ends, and a stream never just ends.
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(_LAST_WORD):
                    await response.write(reply.broke(_ending()))
            raise
        return response

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            yield
        finally:
            self._streams.discard(task)

    def _tell_of_a_switch(self, account: Account, earlier: Sequence[Failure]) -> None:
        for failure in earlier[-1:]:
            if failure.cause is Cause.ACCOUNT and failure.account not in (None, account.name):
                self._switched(account, failure)

    def _note(self, account: Account, outcome: ReplyEvent | None) -> None:
        usage = outcome.usage if isinstance(outcome, Finished | Failed) else None
        self._used(account, usage.credits if usage else None)


class _Turn:
    """What one request needs over all its attempts."""

    def __init__(self, conversation: Conversation, catalog: Catalog) -> None:
        self._conversation = conversation
        self._catalog = catalog
        self._reply_id = uuid.uuid4().hex
        self._created = int(time.time())
        self._options: Callable[[Endpoint], payload.Options]
        self._payload: Payload

    def prepare(self, account: Account, earlier: tuple[Failure, ...]) -> None:
        """Fix what depends on the account and on what went wrong before."""
        choice = self._catalog.choose(self._conversation.model, account.id)
        thinking = self._conversation.thinking or choice.thinking
        drop_reasoning = any(failure.code == "KA-SIGNATURE" for failure in earlier)
        self._window = choice.model.context_window

        def options(endpoint: Endpoint) -> payload.Options:
            return payload.Options(
                model=choice.model,
                protocol=endpoint.protocol,
                origin=endpoint.origin,
                profile_arn=account.profile_arn,
                thinking=thinking,
                drop_reasoning=drop_reasoning,
            )

        self._options = options

    def body(self, endpoint: Endpoint) -> bytes:
        """The service's body, as this endpoint wants it."""
        self._payload = payload.build(self._conversation, self._options(endpoint))
        for repair in self._payload.repairs:
            log.debug("repaired: %s", repair)
        return self._payload.body

    def sent(self, earlier: Sequence[Failure]) -> dict[str, Any]:
        """What may be written down of the body built last, and of the attempts before."""
        return request_log.sent(self._payload.repairs, earlier)

    def reader(self, request_id: str | None) -> Reader:
        """A reader for the answer to the body built last."""
        return Reader(
            tool_names=self._payload.tool_names,
            context_window=self._window,
            input_tokens=self._payload.input_tokens,
            tag_reasoning=self._payload.tag_reasoning,
            request_id=request_id,
            stop_sequences=self._conversation.stop_sequences,
        )

    def encoder(self, surface: Surface) -> Encoder:
        """A writer of this turn's stream."""
        return surface.stream_encoder(
            self._conversation,
            reply_id=self._reply_id,
            created=self._created,
            input_tokens=self._payload.input_tokens,
        )

    def whole(self, surface: Surface, events: list[ReplyEvent], attempt: Attempt) -> web.Response:
        """The reply as one body."""
        encoder = surface.whole_encoder(
            self._conversation,
            reply_id=self._reply_id,
            created=self._created,
            input_tokens=self._payload.input_tokens,
        )
        body = encoder.encode(events)
        attempt.commit()
        return web.Response(body=body, content_type="application/json")


async def _first_events(upstream: ChatReply, reader: Reader) -> list[ReplyEvent]:
    """Read until the reply says something.  Raises TurnFailed when that is a failure."""
    events: list[ReplyEvent] = []
    while not events:
        data = await upstream.read()
        events = reader.feed(data) if data else reader.close()
    if isinstance(events[0], Failed):
        raise TurnFailed(events[0].failure)
    return events


async def _all_events(upstream: ChatReply, reader: Reader, events: list[ReplyEvent]) -> list[ReplyEvent]:
    while not reader.done:
        data = await upstream.read()
        events += reader.feed(data) if data else reader.close()
    return events


async def _next_bytes(upstream: ChatReply, reply: StreamedReply) -> bytes:
    try:
        return reply.feed(await upstream.read())
    except TurnFailed as error:
        return reply.broke(error.failure)
    except Exception:
        log.exception("a stream failed by a defect of this program")
        return reply.broke(internal_failure())


class _Line:
    """The client's end of a stream, inside its block.

    Pings keep it alive while the service is silent.  A client that takes nothing for longer than `patience`
    seconds is hung up on: it holds a place that others wait for.
    """

    def __init__(
        self, request: web.Request, response: web.StreamResponse, reply: StreamedReply, patience: float
    ) -> None:
        self._request = request
        self._response = response
        self._reply = reply
        self._patience = patience
        self._written = time.monotonic()  # when the last write began
        self._writing = False

    async def __aenter__(self) -> Self:
        self._pinger = asyncio.create_task(self._ping_when_silent())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pinger.cancel()
        await asyncio.gather(self._pinger, return_exceptions=True)

    async def write(self, data: bytes) -> None:
        if data:
            self._written = time.monotonic()
            self._writing = True
            await self._response.write(data)
            self._writing = False

    async def _ping_when_silent(self) -> None:
        while True:
            await asyncio.sleep(max(0.05, self._written + SILENCE - time.monotonic()))
            silent = time.monotonic() - self._written
            if not self._writing:
                if silent >= SILENCE:
                    await self.write(self._reply.ping())
            elif silent >= self._patience and self._request.transport is not None:
                log.info("a client was hung up on: it took nothing for %d seconds", silent)
                self._request.transport.abort()
                return


def failure_response(surface: Surface, failure: Failure) -> web.Response:
    """A failure before any output, in the API's shape."""
    error = surface.encode_failure(failure)
    return web.Response(
        status=error.status, headers=error.headers, body=error.body, content_type="application/json"
    )


def _log(failure: Failure) -> None:
    """The code and by whom; the sentence may quote what the service says of the request."""
    log.info("a turn failed: %s, %s, request %s", failure.code, failure.account, failure.request_id)


def _naming_the_model(failure: Failure, model: str | None) -> Failure:
    """Who lists no such model cannot know what the client called it."""
    if failure.code != "KA-MODEL" or model is None:
        return failure
    message = f"The model {model!r} is unknown, or not part of the account's plan or region."
    return msgspec.structs.replace(failure, message=message)


def _ending() -> Failure:
    return Failure(code="KA-CUT", message="The gateway was stopped.", next_step="Repeat the request.")


def internal_failure() -> Failure:
    """What a client is told of a defect of ours; the log has the rest."""
    return Failure(
        code="KA-INTERNAL",
        message="The gateway made a mistake; its log says more.",
        next_step="Please report it.",
    )
