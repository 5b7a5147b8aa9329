"""How many credits may be spent: by day, and in it by project and by key; and by conversation.

What a turn costs is known at its end.  So a budget stops the turn after the one that used it up, and turns
that run side by side may go over it together, by what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kiro_auth.failures import Failure
from kiro_auth.ledger.books import Books, Matter, Scope

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
        books: Books,
        *,
        clock: Callable[[], float],
        on_near: Callable[[str], None],
    ) -> None:
        self.limits = limits
        self._books = books
        self._clock = clock
        self._on_near = on_near

    def refusal(self, matter: Matter) -> Failure | None:
        """Why a turn may not begin, if it may not."""
        now = self._clock()
        for scope, limit in self.limits.items():
            spent = self._books.spent(scope, matter, now)
            if spent is not None and spent >= limit:
                return self._used_up(scope, matter, spent, now)
        return None

    def add(self, matter: Matter, credits_: float) -> None:
        """A turn has used so many."""
        now = self._clock()
        before = {scope: self._books.spent(scope, matter, now) for scope in self.limits}
        self._books.add(matter, credits_, now)
        for scope, limit in self.limits.items():
            spent = self._books.spent(scope, matter, now)
            if spent is not None and (before[scope] or 0.0) < NEAR * limit <= spent:
                self._on_near(
                    f"The budget {self._words(scope, matter)} is nearly used up: {spent:.2f} were spent."
                )

    def _words(self, scope: Scope, matter: Matter) -> str:
        return f"of {self.limits[scope]:g} credits {_WORDS[scope].format(matter.of(scope))}"

    def _used_up(self, scope: Scope, matter: Matter, spent: float, now: float) -> Failure:
        way_on = _WAYS_ON.get(scope, _WAY_ON)
        return Failure(
            code="KA-BUDGET",
            message=f"The budget {self._words(scope, matter)} is used up: {spent:.2f} were spent.",
            next_step=f"{way_on}, or raise budgets.{scope} in kiro.json, then kiro-auth reload.",
            until=None if scope == "session" else self._books.day(now)[1],
            noted_at=now,
        )
