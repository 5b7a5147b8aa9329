"""What the holders of client keys spent in this day and in this month, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Final

from kiro_auth.keys.key import Period
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import totals

PERIODS: Final[tuple[Period, ...]] = ("day", "month")
_DIGITS: Final = 6
"""Behind the point, so that ten times 0.1 are 1."""


class Spending:
    """Credits by the id of a key.  Days and months are those of `zone`, the machine's if it is None."""

    def __init__(self, clock: Callable[[], float], zone: tzinfo | None = None) -> None:
        self._clock = clock
        self._zone = zone
        self._ends: dict[Period, float] = dict.fromkeys(PERIODS, 0.0)
        self._spent: dict[Period, defaultdict[str, float]] = {}

    def read(self, ledger: Ledger) -> None:
        """Begin with what the ledger has.  Raises StoreFailed."""
        now = self._clock()
        for period in PERIODS:
            self._begin(period, now)
            for total in totals(ledger, by="key", since=bounds(period, now, self._zone)[0]):
                self._spent[period][total.key or ""] += total.credits

    def add(self, key_id: str, credits_: float) -> None:
        """A turn used so many."""
        now = self._clock()
        for period in PERIODS:
            self._begin(period, now)
            self._spent[period][key_id] += credits_

    def spent(self, key_id: str, period: Period) -> float:
        """What was spent in the day or month that it is."""
        self._begin(period, self._clock())
        return round(self._spent[period].get(key_id, 0.0), _DIGITS)

    def _begin(self, period: Period, now: float) -> None:
        """Forget the last one, if it has ended."""
        if now >= self._ends[period]:
            self._ends[period] = bounds(period, now, self._zone)[1]
            self._spent[period] = defaultdict(float)


def bounds(period: Period, now: float, zone: tzinfo | None = None) -> tuple[float, float]:
    """When the day or month of this moment (epoch seconds) begins and ends; in the machine's zone if None."""
    today = datetime.fromtimestamp(now, UTC).astimezone(zone)
    year, month, day = today.year, today.month, today.day if period == "day" else 1
    if period == "month":
        after = datetime(year + month // 12, month % 12 + 1, 1)
    else:
        after = datetime.fromordinal(today.toordinal() + 1)
    return _midnight(year, month, day, zone), _midnight(after.year, after.month, after.day, zone)


def _midnight(year: int, month: int, day: int, zone: tzinfo | None) -> float:
    return datetime(year, month, day, tzinfo=zone).timestamp()
