"""What a warm turn costs beside a cold one, with and without cache points, by the credits that Kiro meters.

Four turns for each round: a conversation that Kiro has never seen (cold), and the same once more (warm),
first without cache points and then with them.  All are about as long, and no two pairs share a beginning.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.conversation import Conversation, Failed, Message, Text
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.parts import Parts
from kiro_auth.gateway.reply import reader_of
from kiro_auth.kiro.models import Model
from kiro_auth.kiro.request import payload
from kiro_auth.reply_usage import Usage

KINDS: Final = ((False, False), (False, True), (True, False), (True, True))
"""The turns of a round in their order: with cache points or not, warm or cold."""
INPUT_TOKENS: Final = 9000
"""Of each turn, about: Kiro is reported to cache from 4,096 tokens on (2026)."""
_WORDS: Final = 3200
_LETTERS: Final = "bdfglmnprst"
_VOWELS: Final = "aeiou"


class Measured(Struct, frozen=True, rename="camel"):
    """One turn, and what Kiro metered for it; None: it did not say."""

    cache_points: bool
    warm: bool
    credits: float | None
    input_tokens: int


async def measure(
    parts: Parts, account: Account, model: Model, rounds: int, on_turn: Callable[[Measured], None]
) -> None:
    """Send the turns one after the other; `on_turn` hears of each.  Raises TurnFailed, StoreFailed."""
    for _ in range(rounds):
        unseen = {points: _conversation(model) for points in (False, True)}
        for points, warm in KINDS:
            fresh = await parts.pool.fresh(account)
            usage = await _asked(parts, fresh, model, unseen[points], cache_points=points)
            on_turn(Measured(points, warm, usage.credits, usage.input.value))


def mean(turns: Sequence[Measured], *, cache_points: bool, warm: bool) -> float | None:
    """Credits of such a turn on average; None where Kiro did not say it of each."""
    found = [turn.credits for turn in turns if (turn.cache_points, turn.warm) == (cache_points, warm)]
    known = [credits_ for credits_ in found if credits_ is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


async def _asked(
    parts: Parts, account: Account, model: Model, conversation: Conversation, *, cache_points: bool
) -> Usage:
    build = payload.builder(
        conversation,
        model=model,
        profile_arn=account.profile_arn,
        thinking=None,
        without=frozenset(),
        cache_points=cache_points,
    )
    with closing(await parts.client.chat(credentials_of(account), build)) as call:
        reader = reader_of(conversation, call.sent, model.context_window, call.request_id)
        events = []
        while data := await call.read():
            events += reader.feed(data)
        events += reader.close()
    if events and isinstance(last := events[-1], Failed):
        raise TurnFailed(last.failure)
    return reader.usage


def _conversation(model: Model) -> Conversation:
    """Words that nobody has sent before, an answer to them, and a short question."""
    return Conversation(
        model=model.id,
        session=f"caching-{secrets.token_hex(8)}",
        messages=(
            Message("user", (Text(f"Keep this list of words in mind.\n{_unseen_words()}"),)),
            Message("assistant", (Text("I keep it in mind."),)),
            Message("user", (Text("Answer with the one word: ready."),)),
        ),
    )


def _unseen_words() -> str:
    choose = secrets.choice
    words = ("".join(choose(_LETTERS) + choose(_VOWELS) for _ in range(4)) for _ in range(_WORDS))
    return " ".join(words)
