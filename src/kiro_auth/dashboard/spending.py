"""Where the credits went: sums over hours or days, by model, project, account or client, for the charts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from kiro_auth.dashboard.words import line
from kiro_auth.explanations import CAUSES
from kiro_auth.failures import CATALOGUE
from kiro_auth.ledger import reading
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import Bucket, Point
from kiro_auth.ledger.row import Row
from kiro_auth.times import when

Dimension: TypeAlias = Literal["model", "project", "account", "client"]
DIMENSIONS: Final[tuple[Dimension, ...]] = get_args(Dimension)
SPANS: Final[Mapping[str, tuple[Bucket, int]]] = {
    "day": ("hour", 24),
    "week": ("day", 7),
    "month": ("day", 30),
}
"""Of each span of time: what is summed up, and how many of these, the last of them the current one."""
SHOWN: Final = 6
"""Series with a colour of their own; the rest is shown together."""
FAILURES: Final = 12


class Series(Struct):
    """One colour of the chart: credits for each of the spans, and what that makes together."""

    name: str
    values: list[float]
    credits: float = 0.0
    turns: int = 0


class Chart(Struct, frozen=True):
    """`starts` are the beginnings of the spans in this machine's zone; the largest series come first."""

    starts: list[str]
    series: list[Series]
    credits: float
    turns: int


def chart(ledger: Ledger | None, by: Dimension, span: str, now: float) -> Chart:
    """The sums of a span of time that ends now.  Raises StoreFailed."""
    bucket, count = SPANS[span]
    starts = _starts(bucket, count, now)
    since = datetime.fromisoformat(starts[0]).timestamp()
    points = reading.series(ledger, by=by, since=since, bucket=bucket) if ledger else []
    series = _series(points, starts, f"no {by}")
    return Chart(starts, series, sum(s.credits for s in series), sum(s.turns for s in series))


def _starts(bucket: Bucket, count: int, now: float) -> list[str]:
    last = datetime.fromtimestamp(now)
    if bucket == "hour":
        return [f"{last - timedelta(hours=back):%Y-%m-%dT%H:00}" for back in reversed(range(count))]
    return [f"{last - timedelta(days=back):%Y-%m-%d}" for back in reversed(range(count))]


def _series(points: Sequence[Point], starts: Sequence[str], nameless: str) -> list[Series]:
    place = {start: number for number, start in enumerate(starts)}
    by_key: dict[str | None, Series] = {}
    for point in points:
        number = place.get(point.start)
        if number is None:  # an hour that the clocks show twice or not at all
            continue
        name = line(point.key or "") or nameless
        series = by_key.setdefault(point.key, Series(name, [0.0] * len(starts)))
        series.values[number] += point.credits
        series.credits += point.credits
        series.turns += point.turns
    ordered = sorted(by_key.values(), key=lambda one: (-one.credits, -one.turns, one.name))
    if len(ordered) <= SHOWN + 1:
        return ordered
    return [*ordered[:SHOWN], _together(ordered[SHOWN:])]


def _together(rest: Sequence[Series]) -> Series:
    values = [sum(column) for column in zip(*(series.values for series in rest), strict=True)]
    credits_, turns = sum(series.credits for series in rest), sum(series.turns for series in rest)
    return Series(f"{len(rest)} others", values, credits_, turns)


class Spent(Struct, frozen=True):
    """The tiles: today, and since the month began."""

    today: str
    today_turns: int
    month: str
    month_turns: int


def spent(ledger: Ledger | None, now: float) -> Spent:
    """What was spent today and in this month, by this machine's calendar.  Raises StoreFailed."""
    day = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    sums: dict[str, tuple[float, int]] = defaultdict(lambda: (0.0, 0))
    for name, since in (("day", day), ("month", day.replace(day=1))):
        totals = reading.totals(ledger, by="key", since=since.timestamp()) if ledger else []
        sums[name] = sum(total.credits for total in totals), sum(total.turns for total in totals)
    (today, turns), (month, month_turns) = sums["day"], sums["month"]
    return Spent(f"{today:,.2f}", turns, f"{month:,.2f}", month_turns)


class Trouble(Struct, frozen=True):
    """A turn that failed: when, its code with what that means, the usual cause, what to do."""

    when: str
    code: str
    title: str
    cause: str
    next_step: str
    details: str


def troubles(ledger: Ledger | None, now: float) -> list[Trouble]:
    """The last turns that failed, the newest first.  Raises StoreFailed."""
    rows = reading.recent_failures(ledger, FAILURES) if ledger else []
    return [
        Trouble(
            when=when(row.when, now),
            code=line(row.outcome),
            title=CATALOGUE[row.outcome].title if row.outcome in CATALOGUE else "The turn failed.",
            cause=CAUSES.get(row.outcome, ""),
            next_step=CATALOGUE[row.outcome].remedy if row.outcome in CATALOGUE else "",
            details=_details(row),
        )
        for row in rows
    ]


def _details(row: Row) -> str:
    told = {
        "": row.model or row.model_asked,
        "account ": row.account_name,
        "client ": row.client,
        "request ": row.request_id,
    }
    return " · ".join(f"{mark}{line(text)}" for mark, text in told.items() if text)
