"""What is known of a turn while it goes on, and at its end the one value that listeners get."""

from __future__ import annotations

import re
import time
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import Attempt
from kiro_auth.accounts.choice import NOBODY, Wish, ids
from kiro_auth.conversation import Conversation, Document, Image, ToolResult
from kiro_auth.events import Asked, Caller, End, Failed, Instead, Running, Served, TurnEnded
from kiro_auth.failures import Failure
from kiro_auth.gateway.answers import in_header
from kiro_auth.gateway.reply import Reply
from kiro_auth.gateway.scheduled_pause import Patient
from kiro_auth.keys.key import ClientKey
from kiro_auth.kiro.models import Model
from kiro_auth.kiro.request.payload import Payload
from kiro_auth.reply_usage import InputParts

MODEL_HEADER: Final = "x-kiro-model"
"""Of every answer: the service's model that it is from."""
ACCOUNT_HEADER: Final = "x-kiro-account"
"""Of every answer: the name of the account that began it."""
CREDITS_HEADER: Final = "x-kiro-credits"
"""Of a whole answer: what the service metered for it."""
FALLBACK_HEADER: Final = "x-kiro-fallback"
"""Of an answer of another model than the one that was asked for: that one, and the code of its failure."""
THRIFT_HEADER: Final = "x-kiro-thrift"
"""Of an answer of a cheaper model, as `thrift` wants it: the one that was asked for."""
_LONGEST: Final = 80
"""Characters of a name in headers and toasts; one that is unknown is as the client wrote it."""
_PRODUCT: Final = re.compile(r"[\w!#$%&'*+.^`|~-]{1,40}", re.ASCII)
"""How a `User-Agent` begins: `claude-cli/2.1 (external)`."""


class Turn:
    """Filled in as things become known; `end` has to be by the end.

    `bound` is the one account that the request asked for, `key` the client key that it came with, which
    `has_place` among the answers that it may have at a time, `patient` how it waits for a reset, `thrift_for`
    the service's model that was asked for while a cheaper one is tried.  The `conversation` is kept as long
    as a part of it may be sent once more.
    """

    __slots__ = (
        *("_before", "_begun", "_first_byte", "_input_parts", "_instead", "_repairs", "_reply"),
        *("_request_id", "_served", "_surface", "_user_agent", "asked", "attempt", "bound", "caller"),
        *("conversation", "end", "has_place", "key", "patient", "project", "thrift_for"),
    )

    def __init__(
        self, *, caller: Caller, surface: str, request_id: str, user_agent: str, project: str | None
    ) -> None:
        self.caller = caller
        self.project = project
        self._surface = surface
        self._request_id = request_id
        self._user_agent = user_agent
        self._begun = time.monotonic()
        self._first_byte: float | None = None
        self._served: Served | None = None
        self._repairs: tuple[str, ...] = ()
        self._reply: Reply | None = None
        self._instead: Instead | None = None
        self._input_parts: InputParts | None = None
        self._before: tuple[Failure, ...] = ()
        self.conversation: Conversation | None = None
        self.asked: Asked | None = None
        self.bound: Account | None = None
        self.key: ClientKey | None = None
        self.has_place = False
        self.attempt: Attempt | None = None
        self.patient: Patient | None = None
        self.thrift_for: str | None = None
        self.end: End | None = None

    def wish(self, unsuited: frozenset[str] = NOBODY) -> Wish:
        """Which accounts may serve it; those that are `unsuited` come last."""
        return Wish(
            unsuited=unsuited,
            only=self.bound.id if self.bound else None,
            allowed=ids(self.key.accounts) if self.key else NOBODY,
        )

    def answers(self, account: Account, model: Model, sent: Payload, reply: Reply) -> None:
        """The account has begun to answer what was sent."""
        self._first_byte = time.monotonic() - self._begun
        self._served = Served(
            account=account.id,
            account_name=account.name,
            model=model.id,
            instead=self._instead,
            thrift_for=self.thrift_for,
        )
        self._input_parts = sent.input_parts
        self._repairs = tuple(sorted({repair.what for repair in sent.repairs})) if sent.repairs else ()
        self._reply = reply

    def goes_on_with(self, account: Account) -> None:
        """The account makes a later call of the answer: it may be another than began it."""
        if self._served is not None:
            self._served = replace(self._served, account=account.id, account_name=account.name)

    def gave_up(self, model: str, failure: Failure) -> None:
        """A model of the service failed so, and another one is asked instead."""
        self._instead = self._instead or Instead(_shown(model), failure)
        self.thrift_for = None  # it is tried first, and once
        self.begins_anew()

    def begins_anew(self) -> None:
        """The attempts so far were in vain; others follow."""
        self._before += self.attempt.earlier if self.attempt else ()
        self.attempt = None

    @property
    def made(self) -> int:
        """How many attempts the models before this one had."""
        return len(self._before)

    def headers(self) -> dict[str, str]:
        """What the answer says of the model and the account that it is from."""
        served = self._served
        if served is None:
            return {}
        headers = {MODEL_HEADER: _shown(served.model), ACCOUNT_HEADER: _shown(served.account_name)}
        if served.instead is not None:
            headers[FALLBACK_HEADER] = f"{served.instead.model}; {served.instead.failure.code}"
        if served.thrift_for:
            headers[THRIFT_HEADER] = _shown(served.thrift_for)
        return headers

    def metered(self) -> dict[str, str]:
        """What a whole answer says of its cost, if the service said it."""
        credits_ = self._reply.usage.credits if self._reply else None
        return {} if credits_ is None else {CREDITS_HEADER: f"{credits_:.6f}".rstrip("0").rstrip(".")}

    def so_far(self) -> Running:
        """What is known of the turn while it goes on."""
        earlier = self._before + (self.attempt.earlier if self.attempt else ())
        asked, served = self.asked, self._served
        return Running(
            began=time.time() - (time.monotonic() - self._begun),
            surface=self._surface,
            client=product(self._user_agent),
            model=served.model if served else asked.model if asked else None,
            stream=asked.stream if asked else False,
            account=served.account_name if served else None,
            first_byte=self._first_byte,
            attempts=tuple(failure.code for failure in earlier),
        )

    def ended(self) -> TurnEnded:
        """What there is to say of the turn, now that it ended."""
        assert self.end is not None, "a turn ends in one of four ways"
        return TurnEnded(
            when=time.time(),
            caller=self.caller,
            client=product(self._user_agent),
            project=self.project,
            surface=self._surface,
            request_id=self._request_id,
            asked=self.asked,
            bound=self.bound.name if self.bound else None,
            served=self._served,
            attempts=self._earlier(),
            repairs=self._repairs,
            first_byte=self._first_byte,
            seconds=time.monotonic() - self._begun,
            usage=self._reply.usage if self._reply else None,
            input_parts=self._input_parts,
            end=self.end,
        )

    def _earlier(self) -> tuple[Failure, ...]:
        """The failures of the attempts before the last one: the turn may have ended with that one's."""
        failures = self._before + (self.attempt.earlier if self.attempt else ())
        ended_so = isinstance(self.end, Failed) and failures and failures[-1].code == self.end.failure.code
        return failures[:-1] if ended_so else failures


def _shown(name: str) -> str:
    return in_header(name[:_LONGEST])


def product(user_agent: str) -> str | None:
    """The name of the program that a `User-Agent` begins with, without its version."""
    match = _PRODUCT.match(user_agent)
    return match.group() if match else None


def figures(conversation: Conversation, size: int) -> Asked:
    """What a request is, without its words; its body had so many bytes."""
    blocks = [block for message in conversation.messages for block in message.content]
    kinds = [
        kind
        for block in blocks
        for kind in (map(type, block.content) if isinstance(block, ToolResult) else (type(block),))
    ]
    return Asked(
        model=conversation.model,
        session=conversation.session,
        kind=conversation.kind,
        stream=conversation.stream,
        messages=len(conversation.messages),
        tools=len(conversation.tools),
        images=kinds.count(Image),
        documents=kinds.count(Document),
        size=size,
    )
