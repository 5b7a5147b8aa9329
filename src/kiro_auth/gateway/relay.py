"""One turn, from a client's request to the last byte of its answer.

Read `_answer` as the way of one request: decode, pick an account, build the service's body, send it, and let
the service's bytes through the reply.  The status line waits for the service's first word, so that what fails
before it is a real HTTP error; what fails after it ends the stream in the API's own form.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import msgspec

from kiro_auth import events
from kiro_auth.accounts.attempts import Attempt, attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.conversation import Conversation, Finished
from kiro_auth.events import Asked, Listener, Running
from kiro_auth.failures import DEFECT, Failure, KiroAuthError, TurnFailed
from kiro_auth.gateway.accounting import Accounting
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.allowed_models import allows, check_model
from kiro_auth.gateway.answers import beside, failure_response
from kiro_auth.gateway.asking import Asking
from kiro_auth.gateway.body import read_body
from kiro_auth.gateway.bound import bound_to, saying_so
from kiro_auth.gateway.catalog import Catalog, Wanted
from kiro_auth.gateway.draft import FieldRefusals
from kiro_auth.gateway.fallback import Course, Rule
from kiro_auth.gateway.heavy import THREADS, run_for
from kiro_auth.gateway.http.request import Request, Stream
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.paths import plain
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.progress import Progress
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.gateway.rounds import Rounds
from kiro_auth.gateway.scheduled_pause import Patient, ScheduledPauses
from kiro_auth.gateway.streams import HEADERS, Streams
from kiro_auth.gateway.thrift import ERRANDS, cheapest
from kiro_auth.gateway.turn import Turn, figures
from kiro_auth.gateway.web_search import Searcher
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.off_loop import Run, Threads
from kiro_auth.surfaces.prefixes import Prefixes
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.relay")


class Relay:
    """Answers turns with the accounts of one pool; `listeners` hear of each when it has ended.

    `patience`, in seconds, is how long a client may take to read what was written.  `fallback` says which
    model is asked when another fails, `thrift` whether a cheaper one does errands.  For so many hours,
    `wait_for_reset`, a request waits where all plans are used up; `on_pause` hears of it in words.
    Work on large requests is done in the `threads`.
    """

    def __init__(
        self,
        pool: Pool,
        client: KiroClient,
        catalog: Catalog,
        accounting: Accounting,
        allowances: Allowances,
        listeners: Sequence[Listener],
        *,
        patience: float,
        streams: Streams,
        prefixes: Prefixes,
        fallback: Sequence[Rule] = (),
        thrift: bool = False,
        wait_for_reset: float = 0,
        on_pause: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._client = client
        self._catalog = catalog
        self._accounting = accounting
        self._allowances = allowances
        self._searcher = Searcher(client)
        self._listeners = listeners
        self.patience = patience
        self.fallback = fallback
        self._refusals = FieldRefusals()
        self.thrift = thrift
        self.streams = streams
        self.pauses = ScheduledPauses(pool, hours=wait_for_reset, on_pause=on_pause)
        self.threads = Threads(THREADS)
        self.prefixes = prefixes
        self._turns: set[Turn] = set()

    def running(self) -> list[Running]:
        """The turns that have not ended, the oldest first."""
        return sorted((turn.so_far() for turn in self._turns), key=lambda turn: turn.began)

    async def answer(self, request: Request, surface: Surface) -> Response | None:
        """The answer to one request; None once it was streamed.  Failures come in the surface's own shape."""
        turn = Turn(
            caller=request.caller,
            surface=plain(request.path),
            request_id=request.id,
            user_agent=request.headers.get("user-agent", ""),
            project=self._accounting.project_in(request.headers),
        )
        self._turns.add(turn)
        task = self.streams.begin()
        try:
            return await self._answer(request, surface, turn)
        except KiroAuthError as error:
            failure = saying_so(self._naming_the_model(error.failure, turn), turn.bound)
            turn.end = turn.end or events.Failed(failure)
        except asyncio.CancelledError:
            self._cancelled(turn)
            raise
        except Exception:
            log.exception("a turn failed by a defect of this program")
            failure = DEFECT
            turn.end = turn.end or events.Failed(failure)
        finally:
            self.streams.leave(task)
            self._tell(turn)
        if turn.patient is not None and (held := turn.patient.taken()) is not None:
            held.end(failure)
            return None
        if request.begun:  # the stream has its ending: a second answer would stand in its middle
            log.warning("a stream was over when this came: %s", failure.sentence())
            return None
        return failure_response(surface, failure)

    def _cancelled(self, turn: Turn) -> None:
        """The client left, or the gateway ends; a client that waits for a reset is told so."""
        if turn.end is not None:
            return
        turn.end = events.Stopped() if self.streams.stopping else events.Left()
        held = turn.patient.taken() if turn.patient else None
        if held is not None and self.streams.stopping:
            held.end()

    def _tell(self, turn: Turn) -> None:
        """Have listeners hear of it, once; before the client can know that it has ended."""
        if turn not in self._turns:
            return
        self._turns.discard(turn)
        self._allowances.end(turn)
        try:
            ended = turn.ended()
        except Exception:
            log.exception("what a turn was cannot be told, by a defect of this program")
            return
        events.tell(self._listeners, ended)

    async def _answer(self, request: Request, surface: Surface, turn: Turn) -> Response | None:
        body = await read_body(request)
        run = run_for(body, self.threads)
        turn.conversation, asked = await run(_read, surface, body, request.headers, self.prefixes)
        turn.asked = asked
        del body  # megabytes, which a long stream would keep
        turn.key = self._allowances.key_of(turn.caller)
        if turn.key is not None:
            await self._allowances.begin(turn, turn.key)
        if self._accounting.counts:
            await self._accounting.admit(turn)
        if turn.key is not None:
            check_model(turn.key, self._catalog.resolve(asked.model).model)
        turn.bound = bound_to(request.head, partial(self._allowances.accounts, turn.key), turn.key)
        course = Course(self.fallback, self._catalog, asked.model, self._cheaper(turn, asked))
        name, deadline, first = course.first, self._pool.deadline(), None
        while True:
            wanted = self._catalog.wanted(name)
            try:
                return await self._answer_of(wanted, run, request, surface, turn, deadline)
            except KiroAuthError as error:
                assert turn.conversation is not None, "it is kept until an answer is streamed"
                turn.patient = turn.patient or Patient(request, surface, turn.wish())
                failure = await self.pauses.outwaited(
                    error.failure, turn.patient, turn.conversation, deadline
                )
                if failure is None:
                    turn.begins_anew()
                    await self._allowances.begin_anew(turn)
                    deadline = self._pool.deadline() if asked.stream else deadline
                    continue
                first = first or TurnFailed(failure)
                following = course.after(failure)
                if following is None or not allows(turn.key, self._catalog.resolve(following).model):
                    raise first from error
                turn.gave_up(self._catalog.resolve(name).model.id, failure)
                name = following

    def _cheaper(self, turn: Turn, asked: Asked) -> str | None:
        """The model that `thrift` has answer instead of the one that was asked for, if there is one."""
        if not self.thrift or asked.kind not in ERRANDS:
            return None
        listed = self._catalog.models(turn.bound)
        wanted = self._catalog.resolve(asked.model, listed).model
        model = cheapest(asked, wanted, [each for each in listed if allows(turn.key, each)])
        if model is not None:
            turn.thrift_for = wanted.id
        return model.id if model else None

    async def _answer_of(
        self,
        wanted: Wanted,
        run: Run,
        request: Request,
        surface: Surface,
        turn: Turn,
        deadline: float,
    ) -> Response | None:
        """The answer of one model.  Raises KiroAuthError, before any output."""
        conversation = turn.conversation
        assert conversation is not None, "it is kept until an answer is streamed"
        wish = turn.wish(unsuited=wanted.lacking())
        tries = attempts(
            self._pool, session=conversation.session, wish=wish, deadline=deadline, made=turn.made
        )
        for attempt in tries:
            turn.attempt = attempt
            asking = Asking(self._client, wanted, self._refusals, attempt, run, turn.key)
            async with attempt as account, asking as calls:
                model, first = await calls.ask(conversation, account)
                reply = reply_to(
                    conversation,
                    surface,
                    first.sent,
                    context_window=model.context_window,
                    request_id=first.request_id,
                    reply_id=os.urandom(16).hex(),
                    created=int(time.time()),
                )
                upstream = Rounds(first, reply, self._searcher, attempt, account, calls, turn.goes_on_with)
                await _open(upstream, reply)
                attempt.limit_to(None)  # it speaks: from here on only silence ends it
                turn.answers(account, model, first.sent, reply)
                if not conversation.stream:
                    return await _whole(upstream, reply, self.patience, turn, attempt, beside(conversation))
                attempt.commit()
                stream = _stream(request, turn, beside(conversation))
                del conversation, first  # megabytes again
                if reply.searches is None:
                    turn.conversation = None
                    calls.forget()
                await self._streamed(stream, upstream, reply, turn, attempt)
                return None
        raise AssertionError("attempts end with an answer or an exception")

    def _naming_the_model(self, failure: Failure, turn: Turn) -> Failure:
        """The failure with the client's name for the model, which the service does not know."""
        if failure.code != "KA-MODEL" or failure.replay is not None or turn.asked is None:
            return failure
        name, listed = turn.asked.model, self._catalog.models(turn.bound)
        words = models.unknown(name, [model for model in listed if allows(turn.key, model)])
        listed_too = self._catalog.resolve(name, listed).model in listed
        return msgspec.structs.replace(
            failure, message=words.message, next_step=failure.next_step if listed_too else words.next_step
        )

    def _streamed(
        self, stream: Stream, upstream: Rounds, reply: Reply, turn: Turn, attempt: Attempt
    ) -> Awaitable[None]:
        pipe = Pipe(reply, patience=self.patience)

        def on_end() -> None:
            turn.end = pipe.ended
            if isinstance(pipe.ended, events.Failed):
                attempt.broke(pipe.ended.failure)
            self._tell(turn)

        return self.streams.send(stream, upstream, pipe, on_end)


def _stream(request: Request, turn: Turn, headers: Mapping[str, str]) -> Stream:
    """The stream that answers; one whose head was sent while it waited says nothing of these headers."""
    held = turn.patient.taken() if turn.patient else None
    turn.patient = None
    return held.stream if held else request.stream({**turn.headers(), **headers, **HEADERS})


async def _whole(
    upstream: Rounds,
    reply: Reply,
    patience: float,
    turn: Turn,
    attempt: Attempt,
    headers: Mapping[str, str],
) -> Response:
    """The whole answer.  Raises TurnFailed; as nothing was given out, it may be tried again."""
    body, loop, progress = reply.opening(), asyncio.get_running_loop(), Progress(reply, patience)
    try:
        async with asyncio.timeout_at(progress.until(loop.time())) as limit:
            while reply.outcome is None:
                body += await _next_words(upstream, reply)
                _move(limit, progress.until(loop.time()))
    except TimeoutError as error:
        raise TurnFailed(progress.stuck()) from error
    attempt.commit()
    assert isinstance(reply.outcome, Finished), "a whole reply that failed was raised"
    turn.end = events.Answered(reply.outcome.reason)
    return Response(body, headers={**turn.headers(), **headers, **turn.metered()})


def _move(limit: asyncio.Timeout, until: float) -> None:
    """Move a limit that is a second behind: a timer for each event would cost more than all the rest."""
    if until - (limit.when() or 0.0) >= 1.0:
        limit.reschedule(until)


async def _open(upstream: Rounds, reply: Reply) -> None:
    """Read until the reply says something.  Raises TurnFailed when that is a failure."""
    while not reply.speaks:
        reply.open_with(await _next_words(upstream, reply))


async def _next_words(upstream: Rounds, reply: Reply) -> bytes:
    data = upstream.taken() if upstream.at_hand else await upstream.read()
    return reply.feed(data) if data else reply.close()


def _read(
    surface: Surface, body: bytes, headers: Mapping[str, str], prefixes: Prefixes
) -> tuple[Conversation, Asked]:
    """The request, and its figures.  Raises TurnFailed."""
    conversation = surface.decode(body, headers, prefixes)
    return conversation, figures(conversation, len(body))
