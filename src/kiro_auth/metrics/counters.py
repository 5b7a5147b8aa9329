"""What is counted of turns and renewals, in plain figures; `exposition` writes them down when asked.

A turn costs a few additions.  Nothing that a client can choose becomes a label without a bound: names beyond
the bound are counted together as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.refresh import Refresh
from kiro_auth.events import Answered, End, Failed, Left, TurnEnded
from kiro_auth.failures import KiroAuthError
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.reply_usage import Usage

NONE: Final = "none"
"""The label of a turn that no model or account answered."""
OTHER: Final = "other"
FIRST_BYTE_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 60.0)
TURN_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
MOST_MODELS: Final = 60
"""Labels for models; Kiro lists fewer than twenty."""
MOST_SURFACES: Final = 8
MOST_ACCOUNTS: Final = 200


class Bounded:
    """The names that are labels of their own; `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()

    def label(self, name: str | None) -> str:
        """The name, `none` where there is no name, `other` when there are too many."""
        if not name:
            return NONE
        if name not in self._names:
            if len(self._names) >= self._most:
                return OTHER
            self._names.add(name)
        return name


class Histogram(Struct):
    """How many values were up to each bound, not cumulated; the last count is of those above all."""

    bounds: Sequence[float]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counters:
    """The figures since the gateway's start, by their labels."""

    def __init__(self) -> None:
        self.turns: Counter[tuple[str, str, str]] = Counter()  # surface, model, outcome
        self.retries: Counter[tuple[str, str]] = Counter()  # cause, code
        self.refreshes: Counter[str] = Counter()  # outcome
        self.credits: defaultdict[tuple[str, str], float] = defaultdict(float)  # account, model
        self.tokens: Counter[tuple[str, str]] = Counter()  # model, direction
        self.first_byte: dict[str, Histogram] = {}  # by surface
        self.duration: dict[str, Histogram] = {}
        self._models = Bounded(MOST_MODELS)
        self._surfaces = Bounded(MOST_SURFACES)
        self._accounts = Bounded(MOST_ACCOUNTS)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Count a turn."""
        surface = self._surfaces.label(turn.surface)
        model = self._models.label(turn.served.model if turn.served else None)
        self.turns[surface, model, outcome(turn.end)] += 1
        for failure in turn.attempts:
            self.retries[failure.cause.value, failure.code] += 1
        if turn.first_byte is not None:
            _at(self.first_byte, surface, FIRST_BYTE_SECONDS).add(turn.first_byte)
        _at(self.duration, surface, TURN_SECONDS).add(turn.seconds)
        if turn.usage is not None:
            account = self._accounts.label(turn.served.account_name if turn.served else None)
            self._add_usage(turn.usage, account, model)

    def counting(self, refresh: Refresh) -> Refresh:
        """The same, with each renewal of a token counted by how it ended."""

        async def counted(account: Account) -> TokenGrant:
            try:
                grant = await refresh(account)
            except KiroAuthError as error:
                self.refreshes[error.failure.code] += 1
                raise
            self.refreshes["renewed"] += 1
            return grant

        return counted

    def _add_usage(self, usage: Usage, account: str, model: str) -> None:
        if usage.credits is not None:
            self.credits[account, model] += usage.credits
        self.tokens[model, "input"] += usage.input.value
        self.tokens[model, "output"] += usage.output.value


def outcome(end: End) -> str:
    """How a turn ended, in one word: the code of its failure if there is one."""
    match end:
        case Answered():
            return "answered"
        case Failed(failure):
            return failure.code
        case Left():
            return "left"
        case _:
            return "stopped"


def _at(histograms: dict[str, Histogram], label: str, bounds: Sequence[float]) -> Histogram:
    if label not in histograms:
        histograms[label] = Histogram(bounds)
    return histograms[label]
