"""What happened, as values: one `TurnEnded` for every request for a reply, however it ended.

Whatever wants to know of turns is a `Listener`: the request log, notices, the figures of accounts.  The value
is made in one place and handed to each listener once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from msgspec import Struct

from kiro_auth.failures import Failure

if TYPE_CHECKING:  # a gateway that only begins has none of them
    from kiro_auth.conversation import Kind, StopReason
    from kiro_auth.reply_usage import InputParts, Usage

log = logging.getLogger("kiro_auth.events")

FIELDS: Final = "fields"
"""The attribute of a log record that has what is known beside its words, as names and JSON values."""
STARTED: Final = "started"
"""The event of a gateway that listens."""


def noted(event: str, **fields: Any) -> dict[str, Any]:
    """For `extra` of a call that logs: which event it is, and what programs may want to know of it.

    No value may be a secret, an e-mail, or a word of a conversation.
    """
    return {FIELDS: {"event": event, **fields}}


class Caller(Struct, frozen=True):
    """Who sent a request: the holder of one key.

    `secret_hash` says of a client key which of its secrets, one after the other, it came with.
    """

    id: str
    name: str
    secret_hash: str = ""


class Asked(Struct, frozen=True, kw_only=True):
    """A request for a reply: which model by the client's name for it, and figures; none of its words.

    `session` is the client's own name for the conversation, if it has one, `kind` its word for what the reply
    is for; `size` are the bytes of the body, unpacked.
    """

    model: str
    session: str | None
    kind: Kind | None
    stream: bool
    messages: int
    tools: int
    images: int
    documents: int
    size: int


class Instead(Struct, frozen=True):
    """The service's model that was asked for but did not answer, and why."""

    model: str
    failure: Failure


class Served(Struct, frozen=True, kw_only=True):
    """The account that answered, by its id and its name without a whole e-mail, and the service's model.

    Of an answer of several calls, as with a search of the web, it is the account of the last one.

    `instead` is there when `model_fallback` had another model answer than the one that was asked for,
    `thrift_for` is the service's model that was asked for when `thrift` had a cheaper one answer.
    """

    account: str
    account_name: str
    model: str
    instead: Instead | None = None
    thrift_for: str | None = None


class Answered(Struct, frozen=True):
    """The answer is complete."""

    reason: StopReason


class Failed(Struct, frozen=True):
    """There is no answer, or it broke off."""

    failure: Failure


class Left(Struct, frozen=True):
    """The client left before the answer was complete, or took nothing for so long that it was hung up on."""


class Stopped(Struct, frozen=True):
    """The gateway ended before the answer was complete."""


End: TypeAlias = Answered | Failed | Left | Stopped


class TurnEnded(Struct, frozen=True, kw_only=True):
    """One turn, from the request to the end of its answer.

    `when` it ended is epoch seconds; `seconds` it took, `first_byte` of them until the answer began (None: it
    never did).  `client` is the product in its `User-Agent`, `project` what it calls the folder it works in,
    `surface` the path of the API, `request_id` the one in the answer.  `asked` is None
    for a request that could not be read, `bound` is the name of the account that it asked for (None: any),
    `served` is None when no account answered.  `attempts` are the failures of
    the attempts before the last one, `repairs` what was mended in the history.  `usage` is what was known of
    it by the end, each figure with its source, `input_parts` what the input consisted of.
    """

    when: float
    caller: Caller
    client: str | None
    project: str | None = None
    surface: str
    request_id: str = ""
    asked: Asked | None
    bound: str | None = None
    served: Served | None
    attempts: tuple[Failure, ...]
    repairs: tuple[str, ...]
    first_byte: float | None
    seconds: float
    usage: Usage | None
    input_parts: InputParts | None = None
    end: End


class Running(Struct, frozen=True, kw_only=True):
    """A turn that has not ended, as far as it is known.

    It `began` at this time (epoch seconds); `first_byte` are the seconds until its answer began.  `model` is
    the service's once one answers, the client's name for it before.  `attempts` are the codes of those that
    failed.
    """

    began: float
    surface: str
    client: str | None
    model: str | None
    stream: bool
    account: str | None
    first_byte: float | None
    attempts: tuple[str, ...]


class Listener(Protocol):
    """Hears of every turn.  It neither waits nor raises: an answer may stand behind it."""

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """A turn ended."""


def tell(listeners: Iterable[Listener], turn: TurnEnded) -> None:
    """Hand the turn to each listener; a defect of one costs neither the answer nor the others."""
    for listener in listeners:
        try:
            listener.on_turn_ended(turn)
        except Exception:
            log.exception("a listener failed by a defect of this program")
