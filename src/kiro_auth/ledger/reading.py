"""What a ledger says, for commands, the dashboard and budgets: the same queries whatever keeps it.

They use what SQLite and PostgreSQL have in common.  Days and hours are those of this machine's zone, which a
database does not know: it sums up by quarters of an hour, as zones differ by these, the rest is done here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.ledger.forecast import WINDOW_DAYS, Pace
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.row import ENDINGS, Row
from kiro_auth.ledger.schema import COLUMNS, row_from

By: TypeAlias = Literal["day", "model", "project", "session", "client", "account", "key"]
"""What turns can be put together by; `day` is one of this machine's zone, `key` the holder of a key."""
Bucket: TypeAlias = Literal["hour", "day"]

_KEYS: Final[dict[By, str]] = {
    "day": "{quarter}",
    "model": "coalesce(model, model_asked)",
    "project": "project",
    "session": "session",
    "client": "client",
    "account": "account_name",
    "key": "caller",
}
_BUCKETS: Final[dict[Bucket, str]] = {"hour": "%Y-%m-%dT%H:00", "day": "%Y-%m-%d"}
_FAILED: Final = f"outcome not in ({', '.join(repr(word) for word in ENDINGS)})"
_SINCE: Final = "(cast(:since as double precision) is null or ended >= :since)"
_UNTIL: Final = "(cast(:until as double precision) is null or ended < :until)"
_WITHIN: Final = f"{_SINCE} and {_UNTIL}"
_FIGURES: Final = f"""
    count(*), coalesce(sum(credits), 0.0), cast(coalesce(sum(input_tokens), 0) as bigint),
    cast(coalesce(sum(output_tokens), 0) as bigint),
    coalesce(sum(case when {_FAILED} then 1 else 0 end), 0)"""
_SELECT: Final = f"select {', '.join(COLUMNS)} from {{turns}}"  # noqa: S608 (words of this module)
_QUARTER: Final = 900
"""Seconds."""
_CHUNK: Final = 2000
"""Rows that are fetched at once where all are wanted."""


class Total(Struct, frozen=True, rename="camel"):
    """Turns of one `key` together; a None key is of turns that do not say it.

    `credits` is the sum of what the service metered, tokens of what is known of them; `failed` of the
    `turns` ended with a failure.
    """

    key: str | None
    turns: int
    credits: float
    input_tokens: int
    output_tokens: int
    failed: int


class Point(Struct, frozen=True, rename="camel"):
    """What a key used in one hour or day; `start` is its beginning in this machine's zone, as ISO 8601."""

    start: str
    key: str | None
    turns: int
    credits: float


def totals(ledger: Ledger, *, by: By, since: float | None = None, until: float | None = None) -> list[Total]:
    """The sums by key, of turns that ended within [since, until), epoch seconds.  Raises StoreFailed.

    Days come in their order, all else by its credits, the most first.
    """
    query = f"select {_KEYS[by]}, {_FIGURES} from {{turns}} where {_WITHIN} group by 1"  # noqa: S608 (as above)
    rows = ledger.query(query, {"since": since, "until": until})
    if by == "day":
        return [Total(key, *figures) for key, figures in _in_buckets(rows, "day")]
    found = [Total(*values) for values in rows]
    return sorted(found, key=lambda total: (-total.credits, -total.turns, _none_first(total.key)))


def thrifty(ledger: Ledger, *, since: float | None = None, until: float | None = None) -> Total:
    """The turns of cheaper models than were asked for, as `thrift` wants it.  Raises StoreFailed."""
    query = f"select {_FIGURES} from {{turns}} where thrift_for is not null and {_WITHIN}"  # noqa: S608 (as above)
    found = ledger.query(query, {"since": since, "until": until})
    return Total(None, *found[0]) if found else Total(None, 0, 0.0, 0, 0, 0)


def of_key(ledger: Ledger, key_id: str, since: float) -> Total:
    """The turns of one key's holder since then.  Raises StoreFailed."""
    query = f"select {_FIGURES} from {{turns}} where caller = :caller and {_SINCE}"  # noqa: S608 (as above)
    found = ledger.query(query, {"caller": key_id, "since": since})
    return Total(key_id, *found[0]) if found else Total(key_id, 0, 0.0, 0, 0, 0)


def cost_of_input(ledger: Ledger, model: str) -> float | None:
    """Credits for a token of input that this model's turns took on the whole; None: there were none.

    Raises StoreFailed.
    """
    query = "select sum(credits) / sum(input_tokens) from {turns} where model = :model and credits > 0"
    found = ledger.query(query, {"model": model})
    return found[0][0] if found else None


def series(
    ledger: Ledger, *, by: By, since: float | None = None, until: float | None = None, bucket: Bucket = "day"
) -> list[Point]:
    """Turns and credits over time by key, the earliest first.  Hours without turns have no point.

    Raises StoreFailed.
    """
    query = f"""
        select {{quarter}}, {_KEYS[by]}, count(*), coalesce(sum(credits), 0.0)
        from {{turns}} where {_WITHIN} group by 1, 2"""  # noqa: S608 (words of this module)
    by_key = defaultdict[str | None, list[tuple[Any, ...]]](list)
    for quarter, key, *figures in ledger.query(query, {"since": since, "until": until}):
        by_key[key].append((quarter, *figures))
    points = [
        Point(start, key if by != "day" else start, *figures)
        for key, rows in by_key.items()
        for start, figures in _in_buckets(rows, bucket)
    ]
    return sorted(points, key=lambda point: (point.start, _none_first(point.key)))


def paces(ledger: Ledger, now: float) -> dict[str, Pace]:
    """How much each account, by its id, spent lately.  Raises StoreFailed."""
    query = """
        select account, count(credits), coalesce(sum(credits), 0.0), min(ended)
        from {turns} where account is not null and ended >= :since group by account"""
    since = now - WINDOW_DAYS * 86400
    return {account: Pace(*figures) for account, *figures in ledger.query(query, {"since": since})}


def recent(ledger: Ledger, count: int) -> list[Row]:
    """The last turns, the newest first.  Raises StoreFailed."""
    return _newest(ledger, _SELECT, count)


def recent_failures(ledger: Ledger, count: int) -> list[Row]:
    """The last turns that ended with a failure, the newest first.  Raises StoreFailed."""
    return _newest(ledger, f"{_SELECT} where {_FAILED}", count)


def every_row(ledger: Ledger) -> Iterator[list[Row]]:
    """All turns, the oldest first, some thousand at a time.  Raises StoreFailed."""
    query = f"""{_SELECT} where ended > :ended or (ended = :ended and request_id > :id)
        order by ended, request_id limit {_CHUNK}"""
    last = {"ended": float("-inf"), "id": ""}
    while rows := [row_from(values) for values in ledger.query(query, last)]:
        yield rows
        last = {"ended": rows[-1].when, "id": rows[-1].request_id}


def _newest(ledger: Ledger, select: str, count: int) -> list[Row]:
    rows = ledger.query(f"{select} order by ended desc, {{order}} desc limit :count", {"count": count})
    return [row_from(values) for values in rows]


def _in_buckets(rows: list[tuple[Any, ...]], bucket: Bucket) -> list[tuple[str, list[Any]]]:
    """Rows of a quarter of an hour and figures, summed up by hour or day, the earliest first."""
    sums: dict[str, list[Any]] = {}
    for quarter, *figures in sorted(rows):
        start = datetime.fromtimestamp(int(quarter) * _QUARTER).strftime(_BUCKETS[bucket])
        before = sums.get(start)
        sums[start] = [a + b for a, b in zip(before, figures, strict=True)] if before else figures
    return sorted(sums.items())


def _none_first(key: str | None) -> tuple[bool, str]:
    """For sorting: texts in their order; what has none stands before them."""
    return key is not None, key or ""
