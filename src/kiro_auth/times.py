"""Times as people say them: "in 34 s", "today 18:05, in 3 h", "Dec 1, in 2 days".

For a person at this machine they are in the machine's zone.  Answers of the gateway and logs may be read in
another zone, so they name theirs: "2026-12-01 00:00 UTC, in 2 days".  All times are epoch seconds.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from typing import Final

NO_TIME: Final = "a time that no calendar has"
"""For numbers that are no time: a file may hold any."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365.25 * 86400
_HOURS_COUNTED: Final = 48
"""From here on days are counted."""
_DAYS_COUNTED: Final = 730
"""From here on years are counted."""


def when(epoch: float, now: float, zone: tzinfo | None = None) -> str:
    """A time and how far away it is, as a person at this machine says it; `zone` is the machine's if absent.

    Within the hour the distance says it all; beyond a day the date does, without the time of day.
    """
    try:
        then, today = _local(epoch, zone), _local(now, zone)
    except (ValueError, OverflowError, OSError):
        return NO_TIME
    if abs(epoch - now) < _HOUR - _MINUTE / 2:
        return distance(epoch - now)
    days = then.toordinal() - today.toordinal()
    if abs(days) > 1:
        return f"{_date(then, today)}, {_directed(_many(days), ahead=days > 0)}"
    day = {-1: "yesterday", 0: "today", 1: "tomorrow"}[days]
    return f"{day} {then:%H:%M}, {distance(epoch - now)}"


def utc(epoch: float, now: float | None = None) -> str:
    """A time for readers in any zone, to the minute; with `now` also how far away it is."""
    try:
        text = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return NO_TIME
    return text if now is None else f"{text}, {distance(epoch - now)}"


def iso(milliseconds: float | None) -> str | None:
    """A stored time for programs: ISO 8601 in UTC, to the second; None for what is no time."""
    if not milliseconds:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, or no number
        return None


def distance(seconds: float) -> str:
    """How far away a time is: "in 34 s", "in 3 h", "5 min ago", "now"."""
    amount = abs(seconds)
    if amount < 1:
        return "now"
    if math.ceil(amount) < _MINUTE:
        text = f"{math.ceil(amount)} s"
    elif (minutes := _rounded(amount / _MINUTE)) < 60:
        text = f"{minutes} min"
    elif (hours := _rounded(amount / _HOUR)) < _HOURS_COUNTED:
        text = f"{hours} h"
    else:
        text = _many(_rounded(amount / _DAY))
    return _directed(text, ahead=seconds > 0)


def _local(epoch: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(epoch, UTC).astimezone(zone)


def _date(day: datetime, today: datetime) -> str:
    year = "" if day.year == today.year else f", {day.year}"
    return f"{_MONTHS[day.month - 1]} {day.day}{year}"


def _many(days: int) -> str:
    count = abs(days)
    if count < _DAYS_COUNTED:
        return f"{count} day{'' if count == 1 else 's'}"
    return f"{_rounded(count * _DAY / _YEAR)} years"


def _directed(text: str, *, ahead: bool) -> str:
    return f"in {text}" if ahead else f"{text} ago"


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)
