"""When a plan is used up at the person's own pace, as far as the ledger knows it; values alone."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

WINDOW_DAYS: Final = 14.0
"""What counts for the pace: the last two weeks."""
_LEAST_DAYS: Final = 2.0
_LEAST_TURNS: Final = 10
"""Of less no pace can be told."""
_DAY: Final = 86400.0


class Pace(Struct, frozen=True):
    """What one account spent in the window: `turns` with metered credits since `begun` (epoch seconds)."""

    turns: int
    credits: float
    begun: float


class Forecast(Struct, frozen=True):
    """`per_day` are credits; `ends` is when they are used up (epoch seconds), None: not before the reset."""

    per_day: float
    ends: float | None


def forecast(pace: Pace | None, left: float | None, reset: float | None, now: float) -> Forecast | None:
    """The forecast for an account with so many credits `left` until `reset`; None: too little is known."""
    if pace is None or left is None or pace.turns < _LEAST_TURNS or pace.credits <= 0:
        return None
    days = (now - pace.begun) / _DAY
    if days < _LEAST_DAYS:
        return None
    per_day = pace.credits / days
    ends = now + max(0.0, left) / per_day * _DAY
    return Forecast(per_day, ends if reset is None or ends < reset else None)
