"""How many credits may be spent: by day, and in it by project and by key; and by conversation.

What a turn costs is known at its end.  So a budget stops the turn after the one that used it up, and turns
that run side by side may go over it together, by what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kiro_auth.failures import Failure
from kiro_auth.ledger.books import day
from kiro_auth.ledger.matter import Matter, Scope
from kiro_auth.ledger.protocol import Change, Recorder

NEAR: Final = 0.8
"""The share of a budget at which people are told."""
_WORDS: Final[Mapping[Scope, str]] = {
    "day": "for today",
    "session": "for this conversation",
    "project": "for the project {} today",
    "key": "for the key {} today",
}
_WAYS_ON: Final[Mapping[Scope, str]] = {"session": "Begin a new conversation"}
_WAY_ON: Final = "Wait for tomorrow"


class Budgets:
    """`limits` are credits by scope.  `on_near` hears when a budget is nearly used up, and in which words."""

    def __init__(
        self,
        limits: Mapping[Scope, float],
        *,
        clock: Callable[[], float],
        on_near: Callable[[str], None],
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._on_near = on_near

    async def refusal(self, matter: Matter, recorder: Recorder) -> Failure | None:
        """Why a turn may not begin, if it may not.  Raises StoreFailed when nobody knows what was spent."""
        spent = await recorder.spent(matter, self.limits)
        for scope, limit in self.limits.items():
            if scope in spent and spent[scope] >= limit:
                return self._used_up(scope, matter, spent[scope], recorder)
        return None

    def on_counted(self, changes: Iterable[Change]) -> None:
        """Sums have grown: say so where a budget is nearly used up by it."""
        for change in changes:
            limit = self.limits.get(change.scope)
            if limit is not None and change.before < NEAR * limit <= change.after:
                words = self._words(change.scope, change.name)
                self._on_near(f"The budget {words} is nearly used up: {change.after:.2f} were spent.")

    def _words(self, scope: Scope, name: str | None) -> str:
        return f"of {self.limits[scope]:g} credits {_WORDS[scope].format(name)}"

    def _used_up(self, scope: Scope, matter: Matter, spent: float, recorder: Recorder) -> Failure:
        way_on, now = _WAYS_ON.get(scope, _WAY_ON), self._clock()
        return Failure(
            code="KA-BUDGET",
            message=f"The budget {self._words(scope, matter.of(scope))} is used up: {spent:.2f} were spent.",
            next_step=f"{way_on}, or raise budgets.{scope} in kiro.json, then kiro-auth reload.",
            until=None if scope == "session" else day(now, recorder.zone)[1],
            noted_at=now,
        )
