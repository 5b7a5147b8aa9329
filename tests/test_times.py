"""Times as people say them, in every zone and over every change of the clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.times import NO_TIME, distance, iso, utc, when

BERLIN, NEW_YORK, SYDNEY = (
    ZoneInfo("Europe/Berlin"),
    ZoneInfo("America/New_York"),
    ZoneInfo("Australia/Sydney"),
)
ZONES = st.sampled_from(
    [UTC, BERLIN, NEW_YORK, SYDNEY, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Apia")]
) | (st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))))
TIMES = st.floats(datetime(2000, 1, 2, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp())
SECONDS = {"s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400, "years": 365.25 * 86400}


def at(text: str, zone: ZoneInfo | timezone = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("2026-11-29 15:00:00", "now"),
        ("2026-11-29 15:00:34", "in 34 s"),
        ("2026-11-29 15:00:59.5", "in 1 min"),
        ("2026-11-29 15:12:20", "in 12 min"),
        ("2026-11-29 18:05:00", "today 18:05, in 3 h"),
        ("2026-11-30 00:30:00", "tomorrow 00:30, in 10 h"),
        ("2026-12-01 00:00:00", "Dec 1, in 2 days"),
        ("2027-01-05 12:00:00", "Jan 5, 2027, in 37 days"),
        ("2100-01-01 00:00:00", "Jan 1, 2100, in 73 years"),
        ("2026-11-29 14:59:20", "40 s ago"),
        ("2026-11-29 14:00:00", "today 14:00, 1 h ago"),
        ("2026-11-28 23:00:00", "yesterday 23:00, 16 h ago"),
        ("2026-11-20 23:00:00", "Nov 20, 9 days ago"),
    ],
)
def test_a_time_is_said_as_people_say_it(then: str, says: str) -> None:
    assert when(at(then, BERLIN), at("2026-11-29 15:00:00", BERLIN), BERLIN) == says


def test_the_day_is_the_one_of_the_zone() -> None:
    now, reset = at("2026-11-30 22:00:00"), at("2026-12-01 00:00:00")

    assert when(reset, now, NEW_YORK) == "today 19:00, in 2 h"
    assert when(reset, now, BERLIN) == "tomorrow 01:00, in 2 h"


def test_a_change_of_the_clocks_changes_the_hour_said_and_not_the_distance() -> None:
    before = at("2026-10-25 00:30:00", BERLIN)  # at 3:00 it is 2:00 again

    assert when(before + 4 * 3600, before, BERLIN) == "today 03:30, in 4 h"


@given(TIMES, TIMES, ZONES)
def test_date_and_distance_agree_in_every_zone(epoch: float, now: float, zone: timezone) -> None:
    said = when(epoch, now, zone)

    day, _, far = said.rpartition(", ")
    if far == "now":
        assert abs(epoch - now) < 1
        return
    number, unit = re.fullmatch(r"(?:in )?(\d+) (\w+)(?: ago)?", far).groups()  # type: ignore[union-attr]
    assert far.startswith("in ") == (epoch > now)
    assert (
        abs(int(number) * SECONDS[unit] - abs(epoch - now))
        <= SECONDS[unit] * (1 if "day" in unit else 0.51) + 1
    )
    then = datetime.fromtimestamp(epoch, UTC).astimezone(zone)
    if re.match("[A-Z]", day):
        assert day.split(",")[0] == f"{then:%b} {then.day}"
        assert (f", {then.year}" in day) == (
            then.year != datetime.fromtimestamp(now, UTC).astimezone(zone).year
        )
    elif day:
        assert day.split()[1] == f"{then:%H:%M}"


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_is_farther_is_never_said_to_be_nearer(one: float, other: float) -> None:
    def seconds(text: str) -> float:
        return 0 if text == "now" else int(text.split()[1]) * SECONDS[text.split()[2]]

    near, far = sorted((one, other))
    assert seconds(distance(near)) <= seconds(distance(far)) + 1e7 * (far > 6e7)  # years are coarse


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300, -1e300])
def test_what_is_no_time_is_said_to_be_none(number: float) -> None:
    assert (when(number, 0.0), utc(number, 0.0), iso(number)) == (NO_TIME, NO_TIME, None)


@given(st.none() | st.floats() | st.integers())
def test_any_stored_time_is_a_time_or_none(value: float | None) -> None:
    shown = iso(value)

    assert shown is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", shown)


def test_readers_in_other_zones_get_the_zone_and_the_distance() -> None:
    assert utc(at("2026-12-01 00:00:00"), at("2026-11-29 15:00:00")) == "2026-12-01 00:00 UTC, in 33 h"
    assert utc(1_700_000_000.9) == "2023-11-14 22:13 UTC"
    assert iso(1_700_000_000_900) == "2023-11-14T22:13:20+00:00"
