"""A line in the log for every turn: how it ended, client, model, account, how long it took, its credits."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

from msgspec.structs import replace

from kiro_auth.events import Answered, Asked, End, Failed, Left, Served, Stopped, TurnEnded, noted
from kiro_auth.failures import SAID, Failure
from kiro_auth.gateway.request_log import entry
from kiro_auth.kiro import models

log = logging.getLogger("kiro_auth.turns")

EVENT: Final = "turn"
LEGEND: Final = (
    "A line for each turn: how it ended, client, model, account, seconds to its first word/its end, credits."
)
_LONGEST: Final = 60  # characters of a name that is the client's
_CLIENTS: Final = {
    "claude-cli": "Claude Code",
    "opencode": "OpenCode",
    "codex": "Codex",
    "anthropic": "Anthropic SDK",
    "asyncanthropic": "Anthropic SDK",
    "openai": "OpenAI SDK",
    "asyncopenai": "OpenAI SDK",
    "agents": "OpenAI Agents SDK",
    "ai-sdk": "AI SDK",
    "ai": "AI SDK",
    "kiro-auth": "kiro-auth",
}
"""How clients are called, by the product in their `User-Agent` or the beginning of it before `_` or `-`.

Seen in the requests of the clients themselves; the others are called as they call themselves.
"""
CLIENT_NAMES: Final = frozenset(_CLIENTS.values())
_USUAL: Final = ("end", "tool_calls", "stop_sequence")
_ENDINGS: Final = {"length": "cut at the output limit", "content_filter": "stopped by Kiro's filter"}


class TurnLines:
    """Writes the line of each turn, and its figures for programs."""

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Add one line."""
        first = None if turn.first_byte is None else round(turn.first_byte, 3)
        fields = noted(EVENT, client=client_name(turn.client), **entry(turn), firstWord=first)
        log.info("%s", line(turn), extra=fields)


def line(turn: TurnEnded) -> str:
    """What a person reads of a turn, without its time; no words of it.

    Like every line of the log it is made plain where it is written.
    """
    words = [
        f"{_outcome(turn.end)} {client_name(turn.client) or 'unnamed client'}",
        _model(turn.asked, turn.served),
        _account(turn),
        _seconds(turn),
        _credits(turn),
        _tried(turn.attempts),
    ]
    told, reason = ", ".join(filter(None, words)), _reason(turn.end)
    return f"{told}: {reason}" if reason else told


@lru_cache(maxsize=256)
def client_name(product: str | None) -> str | None:
    """What people call the program; None for one that does not name itself."""
    if not product:
        return None
    name = product.lower()
    beginnings = [name, *(name.partition(mark)[0] for mark in "_-")]
    return next((_CLIENTS[start] for start in beginnings if start in _CLIENTS), product)


def _outcome(end: End) -> str:
    match end:
        case Answered():
            return "ok"
        case Failed():
            return "failed"
        case Left():
            return "left"
        case Stopped():
            return "stopped"


def _model(asked: Asked | None, served: Served | None) -> str:
    """The name that was asked for, and the service's if that is another model."""
    if asked is None:
        return ""
    name = asked.model[:_LONGEST]
    if served is None or name.replace(".", "-") == served.model.replace(".", "-"):
        return name
    listed = models.Model(id=served.model, name=served.model, inputs=frozenset())
    is_same = models.resolve(asked.model, [listed]).model.id == served.model
    return name if is_same else f"{name} → {served.model}"


def _account(turn: TurnEnded) -> str:
    if turn.served is not None:
        return turn.served.account_name
    return (turn.end.failure.account or "") if isinstance(turn.end, Failed) else ""


def _seconds(turn: TurnEnded) -> str:
    first = "" if turn.first_byte is None else f"{turn.first_byte:.1f}/"
    return f"{first}{turn.seconds:.1f}s"


def _credits(turn: TurnEnded) -> str:
    metered = turn.usage.credits if turn.usage else None
    return "" if metered is None else f"{metered:.2f} cr"


def _tried(before: tuple[Failure, ...]) -> str:
    return f"after {', '.join(dict.fromkeys(failure.code for failure in before))}" if before else ""


def _reason(end: End) -> str:
    """Why it ended so, where that is not as usual.  What the service said may repeat words of the request."""
    match end:
        case Answered():
            return "" if end.reason in _USUAL else _ENDINGS.get(end.reason, end.reason)
        case Failed(failure):
            message = failure.message.partition(SAID)[0].partition("\n")[0]
            told = replace(failure, message=message).sentence()
            return f"{told} [request {failure.request_id}]" if failure.request_id else told
        case Left():
            return "The client left before the end."
        case Stopped():
            return "The gateway ended before the answer did."
