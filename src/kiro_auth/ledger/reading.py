"""What the ledger says, for commands, the dashboard and budgets.

Each call opens a connection of its own that cannot write, and closes it: readers disturb neither the writer
nor each other.  A ledger that is not there has no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger.forecast import WINDOW_DAYS, Pace
from kiro_auth.ledger.row import ENDINGS, Row
from kiro_auth.ledger.schema import SELECT, row_from

if TYPE_CHECKING:
    import sqlite3

By: TypeAlias = Literal["day", "model", "project", "session", "client", "account", "key"]
"""What turns can be put together by; `day` is one of this machine's zone, `key` the holder of a key."""
Bucket: TypeAlias = Literal["hour", "day"]

_KEYS: Final[dict[By, str]] = {
    "day": "strftime('%Y-%m-%d', ended, 'unixepoch', 'localtime')",
    "model": "coalesce(model, model_asked)",
    "project": "project",
    "session": "session",
    "client": "client",
    "account": "account_name",
    "key": "caller",
}
_BUCKETS: Final[dict[Bucket, str]] = {
    "hour": "strftime('%Y-%m-%dT%H:00', ended, 'unixepoch', 'localtime')",
    "day": "strftime('%Y-%m-%d', ended, 'unixepoch', 'localtime')",
}
_FAILED: Final = f"outcome not in ({', '.join(repr(word) for word in ENDINGS)})"
_WITHIN: Final = "(:since is null or ended >= :since) and (:until is null or ended < :until)"
_BUSY_SECONDS: Final = 5.0


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


def totals(path: Path, *, by: By, since: float | None = None, until: float | None = None) -> list[Total]:
    """The sums by key, of turns that ended within [since, until), epoch seconds.  Raises StoreFailed.

    Days come in their order, all else by its credits, the most first.
    """
    order = "1" if by == "day" else "3 desc, 2 desc, 1"
    query = f"""
        select {_KEYS[by]}, count(*), coalesce(sum(credits), 0.0), coalesce(sum(input_tokens), 0),
          coalesce(sum(output_tokens), 0), coalesce(sum({_FAILED}), 0)
        from turns where {_WITHIN} group by 1 order by {order}"""  # noqa: S608 (words of this module)
    return [Total(*values) for values in _rows(path, query, {"since": since, "until": until})]


def thrifty(path: Path, *, since: float | None = None, until: float | None = None) -> Total:
    """The turns of cheaper models than were asked for, as `thrift` wants it.  Raises StoreFailed."""
    query = f"""
        select null, count(*), coalesce(sum(credits), 0.0), coalesce(sum(input_tokens), 0),
          coalesce(sum(output_tokens), 0), coalesce(sum({_FAILED}), 0)
        from turns where thrift_for is not null and {_WITHIN}"""  # noqa: S608 (words of this module)
    found = _rows(path, query, {"since": since, "until": until})
    return Total(*found[0]) if found else Total(None, 0, 0.0, 0, 0, 0)


def cost_of_input(path: Path, model: str) -> float | None:
    """Credits for a token of input that this model's turns took on the whole; None: there were none.

    Raises StoreFailed.
    """
    query = "select sum(credits) / sum(input_tokens) from turns where model = ? and credits > 0"
    found = _rows(path, query, (model,))
    return found[0][0] if found else None


def series(
    path: Path, *, by: By, since: float | None = None, until: float | None = None, bucket: Bucket = "day"
) -> list[Point]:
    """Turns and credits over time by key, the earliest first.  Hours without turns have no point.

    Raises StoreFailed.
    """
    query = f"""
        select {_BUCKETS[bucket]}, {_KEYS[by]}, count(*), coalesce(sum(credits), 0.0)
        from turns where {_WITHIN} group by 1, 2 order by 1, 2"""  # noqa: S608 (words of this module)
    return [Point(*values) for values in _rows(path, query, {"since": since, "until": until})]


def paces(path: Path, now: float) -> dict[str, Pace]:
    """How much each account, by its id, spent lately.  Raises StoreFailed."""
    query = """
        select account, count(credits), coalesce(sum(credits), 0.0), min(ended)
        from turns where account is not null and ended >= ? group by account"""
    since = now - WINDOW_DAYS * 86400
    return {account: Pace(*figures) for account, *figures in _rows(path, query, (since,))}


def recent(path: Path, count: int) -> list[Row]:
    """The last turns, the newest first.  Raises StoreFailed."""
    return [row_from(values) for values in _rows(path, f"{SELECT} order by number desc limit ?", (count,))]


def recent_failures(path: Path, count: int) -> list[Row]:
    """The last turns that ended with a failure, the newest first.  Raises StoreFailed."""
    query = f"{SELECT} where {_FAILED} order by number desc limit ?"
    return [row_from(values) for values in _rows(path, query, (count,))]


def _rows(path: Path, query: str, values: Sequence[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
    with opened(path) as connection:
        return connection.execute(query, values).fetchall() if connection else []


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """A connection that only reads; None where there is no ledger.  Raises StoreFailed."""
    import sqlite3  # by those alone who read the ledger

    if not path.exists():
        yield None
        return
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            begun = connection.execute("pragma user_version").fetchone()[0] > 0
            yield connection if begun else None
    except sqlite3.Error as error:
        raise StoreFailed(unreadable(path, str(error))) from error


def unreadable(path: Path, why: str) -> Failure:
    """What to tell of a ledger that cannot be read."""
    return Failure(
        code="KA-STORE",
        message=f"The ledger {path} cannot be read: {why}.",
        next_step="Move it away; the gateway begins a new one.",
    )
