"""What was spent lately, kept in memory: of today as a whole, by project and by key; of each conversation."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from datetime import UTC, datetime, timedelta, tzinfo
from datetime import time as time_of_day
from pathlib import Path
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.ledger.reading import totals

Scope: TypeAlias = Literal["day", "session", "project", "key"]
SESSION_DAYS: Final = 30
"""A conversation in which nothing was spent for so long counts as a new one."""
_DIGITS: Final = 6
"""Behind the point, so that ten times 0.1 are 1."""
_SESSIONS: Final = 10_000
"""Conversations that are remembered; beyond that the one that was quiet longest is forgotten."""


class Matter(Struct, frozen=True):
    """What a turn is counted for; a part that is None is counted for nothing."""

    session: str | None
    project: str | None
    caller: str

    def of(self, scope: Scope) -> str | None:
        """The name under which a scope counts it."""
        names: dict[Scope, str | None] = {
            "day": "",
            "session": self.session,
            "project": self.project,
            "key": self.caller,
        }
        return names[scope]


class Books:
    """Days are those of `zone`, the machine's if it is None; times are epoch seconds."""

    def __init__(self, zone: tzinfo | None = None) -> None:
        self._zone = zone
        self._day_ends = 0.0
        self._today: dict[Scope, defaultdict[str, float]] = {}
        self._sessions: OrderedDict[str, float] = OrderedDict()

    def read(self, path: Path, now: float) -> None:
        """Begin with what the ledger has.  Raises StoreFailed."""
        midnight, while_remembered = self.day(now)[0], now - SESSION_DAYS * 86400
        keys = totals(path, by="key", since=midnight)
        projects = totals(path, by="project", since=midnight)
        sessions = totals(path, by="session", since=while_remembered)
        self._begin_day(now)
        self._today["day"][""] += sum(total.credits for total in keys)
        for scope, sums in (("key", keys), ("project", projects)):
            for total in sums:
                self._today[scope][total.key or ""] += total.credits  # type: ignore[index]  # both are scopes
        for total in reversed(sessions[:_SESSIONS]):
            if total.key is not None:
                self._sessions[total.key] = self._sessions.get(total.key, 0.0) + total.credits

    def add(self, matter: Matter, credits_: float, now: float) -> None:
        """A turn has used so many."""
        self._begin_day(now)
        for scope, sums in self._today.items():
            if (name := matter.of(scope)) is not None:
                sums[name] += credits_
        if matter.session is not None:
            self._sessions[matter.session] = self._sessions.get(matter.session, 0.0) + credits_
            self._sessions.move_to_end(matter.session)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)

    def spent(self, scope: Scope, matter: Matter, now: float) -> float | None:
        """What was spent so far for this matter; None where its scope counts it for nothing."""
        self._begin_day(now)
        name = matter.of(scope)
        if name is None:
            return None
        sums = self._sessions if scope == "session" else self._today[scope]
        return round(sums.get(name, 0.0), _DIGITS)

    def day(self, now: float) -> tuple[float, float]:
        """When the day of this moment begins and ends."""
        date = datetime.fromtimestamp(now, UTC).astimezone(self._zone).date()
        begin, end = (self._midnight(date + timedelta(days=days)) for days in (0, 1))
        return begin, end

    def _midnight(self, date: object) -> float:
        return datetime.combine(date, time_of_day.min, self._zone).timestamp()  # type: ignore[arg-type]

    def _begin_day(self, now: float) -> None:
        """Forget yesterday, if that has ended."""
        if now < self._day_ends:
            return
        self._day_ends = self.day(now)[1]
        self._today = {"day": defaultdict(float), "project": defaultdict(float), "key": defaultdict(float)}
