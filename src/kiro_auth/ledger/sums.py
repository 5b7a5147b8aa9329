"""The ledger and the sums of a database: what is done on a connection, each a transaction of its own.

A turn is entered once, however often it is sent: by its request id.  The sums that budgets go by change in
the transaction that enters it, so they are exact however many gateways spend at once.  Of turns that are
forgotten the ids stay for as long as the sums do: one that is entered again, from a copy or a spool, counts
no second time.  Sums are decimal numbers, as ten times 0.1 must be 1.  Days are those of UTC, since gateways
may stand in several zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, get_args

from msgspec import Struct

from kiro_auth.ledger.books import SESSION_DAYS
from kiro_auth.ledger.matter import Scope, matter_of_row
from kiro_auth.ledger.protocol import Change
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.schema import COLUMNS, values_of
from kiro_auth.store.schema import Connection

_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
KEPT_DAYS: Final = 400
"""How long rows and sums are kept, as in a file."""
_QUIET_SECONDS: Final = SESSION_DAYS * 86400.0
_TYPES: Final = {
    **dict.fromkeys(("ended", "credits", "first_byte", "seconds"), "double precision"),
    **dict.fromkeys(("input_tokens", "output_tokens"), "bigint"),
}
_ARRAYS: Final = ", ".join(f"%s::{_TYPES.get(name, 'text')}[]" for name in COLUMNS)
_INSERT: Final = (
    f"INSERT INTO kiro_auth.ledger ({', '.join(COLUMNS)}) SELECT * FROM unnest({_ARRAYS}) "  # noqa: S608
    "ON CONFLICT (request_id) DO NOTHING RETURNING request_id"
)
# A statement of its own, as it sees what was forgotten while the one before it waited for a row.
_COUNTED: Final = "SELECT request_id FROM kiro_auth.forgotten WHERE request_id = ANY(%s)"
# The ids first, each statement for itself: a turn that comes again meanwhile finds its row, or its id.
_REMEMBER: Final = """
    INSERT INTO kiro_auth.forgotten (request_id, ended) SELECT request_id, ended FROM kiro_auth.ledger
    ON CONFLICT (request_id) DO NOTHING
"""
_FORGET: Final = """
    DELETE FROM kiro_auth.ledger WHERE request_id IN (SELECT request_id FROM kiro_auth.forgotten)
"""
# A conversation that was quiet for long begins anew; of turns that come that late, nothing counts.
_ADD: Final = """
    INSERT INTO kiro_auth.sums AS sums (scope, name, day, credits, last)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::numeric[], %s::double precision[])
    ON CONFLICT (scope, name, day) DO UPDATE SET
        credits = CASE
            WHEN excluded.last - sums.last > %s THEN excluded.credits
            WHEN sums.last - excluded.last > %s THEN sums.credits
            ELSE sums.credits + excluded.credits
        END,
        last = greatest(sums.last, excluded.last)
    RETURNING sums.scope, sums.name, sums.day, sums.credits
"""
_SPENT: Final = """
    SELECT wanted.number, coalesce(sum(sums.credits), 0)
    FROM unnest(%s::integer[], %s::text[], %s::text[], %s::text[], %s::double precision[])
        AS wanted (number, scope, name, day, since)
    LEFT JOIN kiro_auth.sums AS sums ON sums.scope = wanted.scope AND sums.name = wanted.name
        AND sums.day >= wanted.day AND sums.last >= wanted.since
    GROUP BY wanted.number
"""


class Wanted(Struct, frozen=True):
    """What was spent under a name of a scope since a moment (epoch seconds): the beginning of a day of UTC.

    A conversation has one sum for its whole life; it counts if it goes on since that moment.
    """

    scope: Scope
    name: str
    since: float


class Added(Struct, frozen=True):
    """The rows that were new, and how the sums have grown by them: by one that was forgotten, not again."""

    rows: Sequence[Row]
    changes: Sequence[Change]


class _Sum(Struct):
    """What rows together add to one sum: credits, and when the last of them ended."""

    credits: Decimal
    last: float


_Key = tuple[Scope, str, str]
"""A sum's scope, name and day; the day of a conversation is empty."""


async def add(connection: Connection, rows: Sequence[Row]) -> Added:
    """Enter the rows that are not there, and count them.  Raises psycopg.Error."""
    by_id = {row.request_id: row for row in rows}
    in_order = [by_id[request_id] for request_id in sorted(by_id)]  # all gateways enter them in one
    columns = zip(*map(values_of, in_order), strict=True)
    async with connection.transaction():
        found = await connection.execute(_INSERT, [list(column) for column in columns])
        entered = {request_id for (request_id,) in await found.fetchall()}
        found = await connection.execute(_COUNTED, [list(entered)])
        counted = {request_id for (request_id,) in await found.fetchall()}
        new = [row for request_id, row in by_id.items() if request_id in entered]
        uncounted = [row for row in new if row.request_id not in counted]
        sums = _sums_of(sorted(uncounted, key=lambda row: row.when))
        changes = await _grown(connection, sums) if sums else []
    return Added(new, changes)


async def _grown(connection: Connection, sums: dict[_Key, _Sum]) -> list[Change]:
    keys = sorted(sums)  # all gateways lock these rows in one order
    scopes, names, days = ([key[part] for key in keys] for part in range(3))
    credits_, last = [sums[key].credits for key in keys], [sums[key].last for key in keys]
    found = await connection.execute(
        _ADD, [scopes, names, days, credits_, last, _QUIET_SECONDS, _QUIET_SECONDS]
    )
    return [
        Change(scope, name, float(total - sums[scope, name, day].credits), float(total))
        for scope, name, day, total in await found.fetchall()
    ]


def _sums_of(rows: Sequence[Row]) -> dict[_Key, _Sum]:
    sums: dict[_Key, _Sum] = {}
    for row in rows:
        if row.credits is None:
            continue
        matter = matter_of_row(row)
        for scope in _SCOPES:
            if (name := matter.of(scope)) is None:
                continue
            sum_ = sums.setdefault((scope, name, _day(scope, row.when)), _Sum(Decimal(0), row.when))
            if row.when - sum_.last > _QUIET_SECONDS:
                sum_.credits = Decimal(0)
            sum_.credits += Decimal(repr(row.credits))
            sum_.last = row.when
    return sums


async def spent(connection: Connection, wanted: Sequence[Wanted]) -> list[float]:
    """The credits of each that is wanted.  Raises psycopg.Error."""
    found = await connection.execute(
        _SPENT,
        [
            list(range(len(wanted))),
            [each.scope for each in wanted],
            [each.name for each in wanted],
            [_day(each.scope, each.since) for each in wanted],
            [each.since for each in wanted],
        ],
    )
    return [float(total) for _, total in sorted(await found.fetchall())]


async def forget(connection: Connection) -> int:
    """Remove all rows but the ids of their turns; how many there were.  Raises psycopg.Error."""
    await connection.execute(_REMEMBER)
    return (await connection.execute(_FORGET)).rowcount


async def trim(connection: Connection, now: float) -> None:
    """Remove some rows that are too old, and sums that nobody can ask for.  Raises psycopg.Error."""
    before = now - KEPT_DAYS * 86400
    await connection.execute(
        "DELETE FROM kiro_auth.ledger WHERE request_id IN "
        "(SELECT request_id FROM kiro_auth.ledger WHERE ended < %s ORDER BY ended LIMIT 2000)",
        [before],
    )
    await connection.execute("DELETE FROM kiro_auth.forgotten WHERE ended < %s", [before])
    await connection.execute(
        "DELETE FROM kiro_auth.sums WHERE last < %s OR (scope = 'session' AND last < %s)",
        [before, now - _QUIET_SECONDS],
    )


def _day(scope: Scope, when: float) -> str:
    return "" if scope == "session" else f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d}"
