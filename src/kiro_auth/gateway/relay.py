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
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web

from kiro_auth import events
from kiro_auth.accounts.attempts import Attempt, attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.conversation import Finished
from kiro_auth.events import Caller, Listener
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway import answers
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.draft import Draft, FieldRefusals
from kiro_auth.gateway.pipe import Pipe
from kiro_auth.gateway.reply import Reply, reply_to
from kiro_auth.gateway.turn import Turn, figures
from kiro_auth.kiro.edge.client import ChatReply, KiroClient
from kiro_auth.surfaces.surface import Surface

log = logging.getLogger("kiro_auth.relay")

CALLER: Final = web.RequestKey("caller", Caller)
"""Under which the application keeps who sent a request, once that was admitted."""


class Relay:
    """Answers turns with the accounts of one pool; `listeners` hear of each when it has ended.

    `patience`, in seconds, is how long a client may take to read what was written.
    """

    def __init__(
        self,
        pool: Pool,
        client: KiroClient,
        catalog: Catalog,
        listeners: Sequence[Listener],
        *,
        patience: float,
    ) -> None:
        self._pool = pool
        self._client = client
        self._catalog = catalog
        self._listeners = listeners
        self._patience = patience
        self._refusals = FieldRefusals()
        self.streams = answers.Streams()

    async def answer(self, request: web.Request, surface: Surface) -> web.StreamResponse:
        """The answer to one request; failures come in the surface's own shape."""
        agent = request.headers.get("User-Agent", "")
        turn = Turn(caller=request[CALLER], surface=request.path, user_agent=agent)
        try:
            return await self._answer(request, surface, turn)
        except KiroAuthError as error:
            turn.end = events.Failed(_naming_the_model(error.failure, turn))
        except answers.UNREADABLE as error:
            turn.end = events.Failed(answers.unreadable(request, error))
        except asyncio.CancelledError:
            turn.end = turn.end or (events.Stopped() if self.streams.stopping else events.Left())
            raise
        except Exception:
            log.exception("a turn failed by a defect of this program")
            turn.end = events.Failed(answers.internal_failure())
        finally:
            events.tell(self._listeners, turn.ended())
        _log(turn.end.failure)
        return answers.failure_response(surface, turn.end.failure)

    async def _answer(self, request: web.Request, surface: Surface, turn: Turn) -> web.StreamResponse:
        conversation = surface.decode(await request.read(), _lower(request.headers))
        turn.asked = figures(conversation)
        wanted = self._catalog.wanted(conversation.model)
        async for attempt in attempts(self._pool, session=conversation.session, unsuited=wanted.lacking()):
            turn.attempt = attempt
            async with attempt as account, attempt.time_limit() as limit:
                choice = await wanted.choice(account)
                draft = Draft(conversation, account, choice, self._refusals, attempt.earlier)
                call = self._client.chat(credentials_of(account), draft.build)
                async with draft.judged(wanted.is_listed), call as upstream:
                    reply = reply_to(
                        conversation,
                        surface,
                        upstream.sent,
                        context_window=choice.model.context_window,
                        request_id=upstream.request_id,
                        reply_id=uuid.uuid4().hex,
                        created=int(time.time()),
                    )
                    opening = await _first_words(upstream, reply)
                    limit.reschedule(None)  # it speaks: from here on only silence ends it
                    turn.answers(account, choice.model, upstream.sent, reply)
                    if conversation.stream:
                        return await self._streamed(request, upstream, reply, opening, turn, attempt)
                    return await _whole(upstream, reply, opening, turn, attempt)
        raise AssertionError("attempts end with an answer or an exception")

    async def _streamed(
        self,
        request: web.Request,
        upstream: ChatReply,
        reply: Reply,
        opening: bytes,
        turn: Turn,
        attempt: Attempt,
    ) -> web.StreamResponse:
        pipe = Pipe(reply, patience=self._patience)
        attempt.commit()
        try:
            return await self.streams.send(request, upstream, pipe, opening)
        finally:
            turn.end = pipe.ended
            if isinstance(pipe.ended, events.Failed):
                attempt.broke(pipe.ended.failure)
                _log(pipe.ended.failure)


async def _whole(
    upstream: ChatReply, reply: Reply, opening: bytes, turn: Turn, attempt: Attempt
) -> web.Response:
    """The whole answer.  Raises TurnFailed; as nothing was given out, it may be tried again."""
    body = opening
    while reply.outcome is None:
        body += await _next_words(upstream, reply)
    attempt.commit()
    assert isinstance(reply.outcome, Finished), "a whole reply that failed was raised"
    turn.end = events.Answered(reply.outcome.reason)
    return answers.whole(body)


async def _first_words(upstream: ChatReply, reply: Reply) -> bytes:
    """Read until the reply says something.  Raises TurnFailed when that is a failure."""
    words = b""
    while not reply.speaks:
        words = await _next_words(upstream, reply)
    return words


async def _next_words(upstream: ChatReply, reply: Reply) -> bytes:
    data = await upstream.read()
    return reply.feed(data) if data else reply.close()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _log(failure: Failure) -> None:
    """Codes and names only; the sentence may quote what the service says of the request."""
    log.info("a turn failed: %s, %s, request %s", failure.code, failure.account, failure.request_id)


def _naming_the_model(failure: Failure, turn: Turn) -> Failure:
    """The failure of a model that the account's list lacks, with the client's name for it."""
    if failure.code != "KA-MODEL" or failure.replay is not None or turn.asked is None:
        return failure
    message = f"The model {turn.asked.model!r} is unknown, or not part of the account's plan or region."
    return msgspec.structs.replace(failure, message=message)
