"""What was spent lately, kept in memory: of today as a whole, by project and by key; of each conversation."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from typing import Final

from kiro_auth.ledger.matter import Matter, Scope
from kiro_auth.ledger.protocol import Change, Ledger
from kiro_auth.ledger.reading import totals

SESSION_DAYS: Final = 30
"""A conversation in which nothing was spent for so long counts as a new one."""
_DIGITS: Final = 6
"""Behind the point, so that ten times 0.1 are 1."""
_SESSIONS: Final = 10_000
"""Conversations that are remembered; beyond that the one that was quiet longest is forgotten."""
_SCOPES: Final[tuple[Scope, ...]] = ("day", "project", "key", "session")


class Books:
    """Days are those of `zone`, the machine's if it is None; times are epoch seconds."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self._day_ends = 0.0
        self._today: dict[Scope, defaultdict[str, float]] = {}
        self._sessions: OrderedDict[str, float] = OrderedDict()

    def read(self, ledger: Ledger, now: float) -> None:
        """Begin with what the ledger has.  Raises StoreFailed."""
        midnight, while_remembered = day(now, self._zone)[0], now - SESSION_DAYS * 86400
        keys = totals(ledger, by="key", since=midnight)
        projects = totals(ledger, by="project", since=midnight)
        sessions = totals(ledger, by="session", since=while_remembered)
        self._begin_day(now)
        self._today["day"][""] += sum(total.credits for total in keys)
        for scope, sums in (("key", keys), ("project", projects)):
            for total in sums:
                self._today[scope][total.key or ""] += total.credits  # type: ignore[index]  # both are scopes
        for total in reversed(sessions[:_SESSIONS]):
            if total.key is not None:
                self._sessions[total.key] = self._sessions.get(total.key, 0.0) + total.credits

    def add(self, matter: Matter, credits_: float, now: float) -> list[Change]:
        """A turn has used so many; how the sums have grown by it."""
        self._begin_day(now)
        before = self.spent(matter, _SCOPES, now)
        for scope, sums in self._today.items():
            if (name := matter.of(scope)) is not None:
                sums[name] += credits_
        if matter.session is not None:
            self._sessions[matter.session] = self._sessions.get(matter.session, 0.0) + credits_
            self._sessions.move_to_end(matter.session)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        after = self.spent(matter, _SCOPES, now)
        return [Change(scope, matter.of(scope) or "", before[scope], after[scope]) for scope in after]

    def spent(self, matter: Matter, scopes: Iterable[Scope], now: float) -> dict[Scope, float]:
        """What was spent so far for this matter, by the scopes that count it."""
        self._begin_day(now)
        spent: dict[Scope, float] = {}
        for scope in scopes:
            if (name := matter.of(scope)) is not None:
                sums = self._sessions if scope == "session" else self._today[scope]
                spent[scope] = round(sums.get(name, 0.0), _DIGITS)
        return spent

    def _begin_day(self, now: float) -> None:
        """Forget yesterday, if that has ended."""
        if now < self._day_ends:
            return
        self._day_ends = day(now, self._zone)[1]
        self._today = {"day": defaultdict(float), "project": defaultdict(float), "key": defaultdict(float)}


def day(now: float, zone: tzinfo | None) -> tuple[float, float]:
    """When the day of this moment begins and ends in a zone, the machine's if it is None; epoch seconds."""
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    return _midnight(today, zone), _midnight(today + timedelta(days=1), zone)


def _midnight(of: date, zone: tzinfo | None) -> float:
    return datetime.combine(of, time_of_day.min, zone).timestamp()
