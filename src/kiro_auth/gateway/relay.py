"""One turn, from a client's request to the last byte of its answer.

Read `_answer` as the way of one request: decode, pick an account, build the service's body, send it, and let
the service's bytes through the reply.  The status line waits for the service's first word, so that what fails
before it is a real HTTP error; what fails after it ends the stream in the API's own form.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web

from kiro_auth import events
from kiro_auth.accounts.attempts import Attempt, attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.conversation import Conversation, Finished
from kiro_auth.events import Caller, Listener
from kiro_auth.failures import Failure, KiroAuthError, TurnFailed
from kiro_auth.gateway import answers
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.asking import asking
from kiro_auth.gateway.body import read_body
from kiro_auth.gateway.bound import bound_to, saying_so
from kiro_auth.gateway.catalog import Catalog, Wanted
from kiro_auth.gateway.draft import FieldRefusals
from kiro_auth.gateway.fallback import Course, Rule
from kiro_auth.gateway.paths import plain
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.gateway.request_id import REQUEST_ID
from kiro_auth.gateway.rounds import Rounds
from kiro_auth.gateway.scheduled_pause import Patient, ScheduledPauses
from kiro_auth.gateway.thrift import ERRANDS, cheapest
from kiro_auth.gateway.turn import Turn, figures
from kiro_auth.gateway.web_search import Searcher
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.relay")

CALLER: Final = web.RequestKey("caller", Caller)
"""Under which the application keeps who sent a request, once that was admitted."""


class Relay:
    """Answers turns with the accounts of one pool; `listeners` hear of each when it has ended.

    `patience`, in seconds, is how long a client may take to read what was written.  `fallback` says which
    model is asked when another fails, `thrift` whether a cheaper one does errands.  For so many hours,
    `wait_for_reset`, a request waits where all plans are used up; `on_pause` hears of it in words.
    """

    def __init__(
        self,
        pool: Pool,
        client: KiroClient,
        catalog: Catalog,
        accounting: Accounting,
        listeners: Sequence[Listener],
        *,
        patience: float,
        fallback: Sequence[Rule] = (),
        thrift: bool = False,
        wait_for_reset: float = 0,
        on_pause: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._client = client
        self._catalog = catalog
        self._accounting = accounting
        self._searcher = Searcher(client)
        self._listeners = listeners
        self._patience = patience
        self._fallback = fallback
        self._refusals = FieldRefusals()
        self._thrift = thrift
        self.streams = answers.Streams()
        self.pauses = ScheduledPauses(pool, self.streams, hours=wait_for_reset, on_pause=on_pause)

    async def answer(self, request: web.Request, surface: Surface) -> web.StreamResponse:
        """The answer to one request; failures come in the surface's own shape."""
        turn = Turn(
            caller=request[CALLER],
            surface=plain(request.path),
            request_id=request[REQUEST_ID],
            user_agent=request.headers.get("User-Agent", ""),
            project=self._accounting.project_in(request.headers),
        )
        try:
            return await self._answer(request, surface, turn)
        except KiroAuthError as error:
            turn.end = events.Failed(saying_so(self._naming_the_model(error.failure, turn), turn.bound))
        except asyncio.CancelledError:
            self._cancelled(turn)
            raise
        except Exception:
            log.exception("a turn failed by a defect of this program")
            turn.end = events.Failed(answers.internal_failure())
        finally:
            events.tell(self._listeners, turn.ended())
        if turn.patient is not None and turn.patient.stream is not None:
            return await turn.patient.stream.end(turn.end.failure)
        return answers.failure_response(surface, turn.end.failure)

    def _cancelled(self, turn: Turn) -> None:
        """The client left, or the gateway ends; who waits for a reset is told so."""
        if turn.end is not None:
            return
        turn.end = events.Stopped() if self.streams.stopping else events.Left()
        if self.streams.stopping and turn.patient is not None and turn.patient.stream is not None:
            turn.patient.stream.end_early()

    async def _answer(self, request: web.Request, surface: Surface, turn: Turn) -> web.StreamResponse:
        body = await read_body(request)
        conversation = surface.decode(body, _lower(request.headers))
        turn.asked = figures(conversation, len(body))
        del body  # megabytes, which a long stream would keep
        await self._accounting.admit(turn, conversation)
        turn.bound = bound_to(request.headers, self._pool.accounts)
        turn.patient = Patient(request, surface, turn.bound.id if turn.bound else None)
        cheaper = self._cheaper(turn)
        course = Course(self._fallback, self._catalog, conversation.model, cheaper)
        name, deadline, first = course.first, self._pool.deadline(), None
        while True:
            wanted = self._catalog.wanted(name)
            try:
                return await self._answer_of(wanted, conversation, request, surface, turn, deadline)
            except KiroAuthError as error:
                failure = await self.pauses.outwaited(error.failure, turn.patient, conversation, deadline)
                if failure is None:
                    turn.begins_anew()
                    deadline = self._pool.deadline() if conversation.stream else deadline
                    continue
                first = first or TurnFailed(failure)
                following = course.after(failure)
                if following is None:
                    raise first from error
                turn.gave_up(self._catalog.resolve(name).model.id, failure)
                name = following

    def _cheaper(self, turn: Turn) -> str | None:
        """The model that `thrift` has answer instead of the one that was asked for, if there is one."""
        assert turn.asked is not None
        if not self._thrift or turn.asked.kind not in ERRANDS:
            return None
        listed = self._catalog.models(turn.bound)
        asked = self._catalog.resolve(turn.asked.model, listed).model
        model = cheapest(turn.asked, asked, listed)
        if model is not None:
            turn.thrift_for = asked.id
        return model.id if model else None

    async def _answer_of(
        self,
        wanted: Wanted,
        conversation: Conversation,
        request: web.Request,
        surface: Surface,
        turn: Turn,
        deadline: float,
    ) -> web.StreamResponse:
        """The answer of one model.  Raises KiroAuthError, before any output."""
        async for attempt in attempts(
            self._pool,
            session=conversation.session,
            only=turn.bound.id if turn.bound else None,
            unsuited=wanted.lacking(),
            deadline=deadline,
            made=turn.made,
        ):
            turn.attempt = attempt
            async with (
                attempt as account,
                attempt.time_limit() as limit,
                asking(self._client, wanted, self._refusals, attempt) as calls,
            ):
                model, first = await calls.ask(conversation, account)
                reply = reply_to(
                    conversation,
                    surface,
                    first.sent,
                    context_window=model.context_window,
                    request_id=first.request_id,
                    reply_id=uuid.uuid4().hex,
                    created=int(time.time()),
                )
                upstream = Rounds(first, reply, self._searcher, attempt, account, calls, turn.goes_on_with)
                opening = await _first_words(upstream, reply)
                limit.reschedule(None)  # it speaks: from here on only silence ends it
                turn.answers(account, model, first.sent, reply)
                headers = {**turn.headers(), **answers.beside(conversation)}
                if conversation.stream:
                    return await self._streamed(request, upstream, reply, opening, turn, attempt, headers)
                return await _whole(upstream, reply, opening, turn, attempt, headers)
        raise AssertionError("attempts end with an answer or an exception")

    def _naming_the_model(self, failure: Failure, turn: Turn) -> Failure:
        """The failure with the client's name for the model, which the service does not know."""
        if failure.code != "KA-MODEL" or failure.replay is not None or turn.asked is None:
            return failure
        name, listed = turn.asked.model, self._catalog.models(turn.bound)
        words = models.unknown(name, listed)
        listed_too = self._catalog.resolve(name, listed).model in listed
        return msgspec.structs.replace(
            failure, message=words.message, next_step=failure.next_step if listed_too else words.next_step
        )

    async def _streamed(
        self,
        request: web.Request,
        upstream: Rounds,
        reply: Reply,
        opening: bytes,
        turn: Turn,
        attempt: Attempt,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        pipe = Pipe(reply, patience=self._patience)
        attempt.commit()
        try:
            held = turn.patient.stream if turn.patient else None
            return await self.streams.send(request, upstream, pipe, opening, headers, held)
        finally:
            turn.end = pipe.ended
            if isinstance(pipe.ended, events.Failed):
                attempt.broke(pipe.ended.failure)


async def _whole(
    upstream: Rounds,
    reply: Reply,
    opening: bytes,
    turn: Turn,
    attempt: Attempt,
    headers: Mapping[str, str],
) -> web.Response:
    """The whole answer.  Raises TurnFailed; as nothing was given out, it may be tried again."""
    body = opening
    while reply.outcome is None:
        body += await _next_words(upstream, reply)
    attempt.commit()
    assert isinstance(reply.outcome, Finished), "a whole reply that failed was raised"
    turn.end = events.Answered(reply.outcome.reason)
    return answers.whole(body, {**headers, **turn.metered()})


async def _first_words(upstream: Rounds, reply: Reply) -> bytes:
    """Read until the reply says something.  Raises TurnFailed when that is a failure."""
    words = b""
    while not reply.speaks:
        words = await _next_words(upstream, reply)
    return words


async def _next_words(upstream: Rounds, reply: Reply) -> bytes:
    data = await upstream.read()
    return reply.feed(data) if data else reply.close()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
