"""What people should hear of without asking: figures now and then, warnings, a change of account.

Windows of OpenCode ask for what is new to them and show it.  Nothing is said twice within a while, so that
ten windows and a bad day stay quiet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.usage_row import used_credits
from kiro_auth.events import TurnEnded
from kiro_auth.failures import Cause, Failure
from kiro_auth.json_values import as_number
from kiro_auth.times import when

Variant = Literal["info", "warning", "error"]

WARN_AT: Final = (0.95, 0.8)
"""Shares of a plan that are worth a warning, the highest first."""
QUIET_SECONDS: Final = {"info": 1800.0, "warning": 600.0, "error": 600.0}
"""How long the same matter is not told of again."""
FRESH_SECONDS: Final = 60.0
"""How long a notice is given to windows that have not shown it."""
_KEPT: Final = 50
_MATTERS: Final = 1000
"""How many matters are remembered, so that none is told of again too soon."""
_SHORTEST_PACE: Final = 600.0
"""Seconds of use from which a forecast may be made."""


class Notice(Struct, frozen=True):
    """One thing to show; `number` counts up, so that each window knows what it has shown."""

    number: int
    message: str
    variant: Variant


class Notices:
    """`level` is what is wanted: `all`, `warnings` or `none`; `problems` are told first."""

    def __init__(
        self,
        level: str,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        problems: Iterable[Failure] = (),
    ) -> None:
        self.level = level
        self._clock = clock
        self._monotonic = monotonic
        self._notices: deque[tuple[float, Notice]] = deque(maxlen=_KEPT)
        self._count = 0
        self._told: dict[str, float] = {}
        self._first: dict[
            str, tuple[float, float]
        ] = {}  # by account: when its use was first seen, and how much
        for problem in problems:
            self.problem(problem)

    def since(self, number: int) -> tuple[int, list[Notice]]:
        """What came after that one, and the number to ask with next time; old news is no news."""
        fresh = self._monotonic() - FRESH_SECONDS
        return self._count, [notice for at, notice in self._notices if notice.number > number and at >= fresh]

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Say so when another account answered than the first, or another model than the one asked for."""
        if turn.served is None:
            return
        if instead := turn.served.instead:
            why = instead.failure.spoken(self._clock())
            message = f"{turn.served.model} answers instead of {instead.model}: {why}"
            self._tell(f"model {instead.model} {instead.failure.code}", message, "warning")
        if not turn.attempts:
            return
        failure, name = turn.attempts[-1], turn.served.account_name
        if failure.cause is Cause.ACCOUNT and failure.account not in (None, name):
            message = f"{name} takes over. {failure.account}: {failure.spoken(self._clock())}"
            self._tell(f"switch {failure.account} {failure.code}", message, "warning")

    def problem(self, failure: Failure) -> None:
        """What was found to be wrong when the gateway began."""
        self._tell(f"problem {failure.message}", failure.spoken(self._clock()), "warning")

    def on_usage_read(self, account: Account, row: Mapping[str, Any]) -> None:
        """The service said what an account has used."""
        used, limit = used_credits(row), as_number(row.get("limitCount"))
        if used is None or not limit:
            return
        share = used / limit
        figures = f"{account.name}: {max(0.0, limit - used):,.0f} of {limit:,.0f} credits left"
        if reached := next((mark for mark in WARN_AT if share >= mark), None):
            self._tell(
                f"{reached} {account.id}", f"{figures}.{self._forecast(account, used, limit, row)}", "warning"
            )
        else:
            self._tell(f"used {account.id}", f"{figures}.", "info")
        self._first.setdefault(account.id, (self._clock(), used))

    def on_budget_near(self, message: str) -> None:
        """A budget is nearly used up."""
        self._tell(f"budget {message}", message, "warning")

    def on_pause(self, message: str) -> None:
        """A request waits for the reset of a plan."""
        self._tell(f"pause {message}", message, "warning")

    def on_credits_used(self, request_id: str, metered: float, of_session: float | None) -> None:
        """What a turn used, and its conversation so far, for people who want to see it each time."""
        so_far = "" if of_session is None else f", this conversation {of_session:.2f}"
        self._tell(f"turn {request_id}", f"This turn used {metered:.2f} credits{so_far}.", "info")

    def _forecast(self, account: Account, used: float, limit: float, row: Mapping[str, Any]) -> str:
        """When they are used up at today's pace, unless the plan begins anew before."""
        begun, first = self._first.get(account.id, (self._clock(), used))
        seconds, spent = self._clock() - begun, used - first
        if used >= limit or seconds < _SHORTEST_PACE or spent <= 0:
            return ""
        end = self._clock() + (limit - used) * seconds / spent
        reset = as_number(row.get("resetAt"))
        return (
            ""
            if reset and reset / 1000 < end
            else f" At this pace they are used up {when(end, self._clock())}."
        )

    def _tell(self, matter: str, message: str, variant: Variant) -> None:
        if self.level == "none" or (self.level == "warnings" and variant == "info"):
            return
        now = self._monotonic()
        if now - self._told.get(matter, float("-inf")) < QUIET_SECONDS[variant]:
            return
        if len(self._told) >= _MATTERS:  # a matter may be named by a client's own words
            quiet = max(QUIET_SECONDS.values())
            self._told = {old: at for old, at in self._told.items() if now - at < quiet}
        if len(self._told) >= _MATTERS:
            return
        self._told[matter] = now
        self._count += 1
        self._notices.append((now, Notice(self._count, message, variant)))
