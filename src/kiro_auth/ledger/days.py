"""When a day begins and ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as time_of_day


def day(now: float, zone: tzinfo | None) -> tuple[float, float]:
    """When the day of this moment begins and ends in a zone, the machine's if it is None; epoch seconds."""
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    return _midnight(today, zone), _midnight(today + timedelta(days=1), zone)


def _midnight(of: date, zone: tzinfo | None) -> float:
    return datetime.combine(of, time_of_day.min, zone).timestamp()
