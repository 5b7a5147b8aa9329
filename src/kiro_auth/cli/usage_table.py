"""Usage as people read it: an account after the other, a line for each of its quotas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.usage_row import percent
from kiro_auth.cli.output import print_table
from kiro_auth.cli.terminal import width, wrapped
from kiro_auth.texts import clean, in_one_line
from kiro_auth.times import when

QUOTAS: Final[Mapping[str, str]] = {"plan": "plan", "trial": "free trial", "bonus": "bonus"}
BEYOND: Final = "beyond plan"
"""Use that is billed, once the plan is used up."""
TOGETHER: Final = "together"
_FRESH_SECONDS: Final = 60
"""Figures of less age are of now."""
_LONGEST_BAR, _SHORTEST_BAR = 12, 4


class Line(Struct, frozen=True):
    """One quota of an account: credits, and what a person is told of its end."""

    quota: str
    used: float | None
    limit: float | None
    ends: str = ""

    @property
    def share(self) -> float | None:
        """How much of it is used; None where that is not known, or has no limit."""
        return None if self.used is None or not self.limit else self.used / self.limit


def print_in_terminal(rows: Sequence[Mapping[str, Any]], now: float) -> None:
    """An account after the other, within the terminal's width; `rows` are as `usage --json` has them."""
    blocks = [(row, list(_lines(row, now))) for row in rows]
    lines = [line for _, block in blocks for line in block]
    room = [
        max((len(text) for text in texts), default=0)
        for texts in (
            [line.quota for line in lines],
            [_figure(line.used) for line in lines],
            [_limit(line) for line in lines],
            [line.ends for line in lines],
        )
    ]
    # Two spaces before each column; " of " within the figures; the share needs five.
    spare = width() - (2 + room[0] + 2 + room[1] + 4 + room[2] + 2 + 5 + 2 + room[3])
    bar = max(_SHORTEST_BAR, min(_LONGEST_BAR, spare))
    for number, (row, block) in enumerate(blocks):
        plan = f", {in_one_line(row['plan'])}" if row["plan"] else ""
        print(("\n" if number else "") + row["account"] + plan)
        for line in block:
            of = " of " if line.limit else "    "
            figures = f"{_figure(line.used):>{room[1]}}{of}{_limit(line):>{room[2]}}"
            text = f"  {line.quota:<{room[0]}}  {figures}  {bar_of(line.share, bar)}{_share(line):>5}"
            fits = len(text) + 2 + len(line.ends) <= width()
            print(f"{text}{'  ' if fits else chr(10) + '    '}{line.ends}".rstrip())
        if note := _note(row, now):
            print(wrapped(clean(f"  {note}"), width()))


def print_in_columns(rows: Sequence[Mapping[str, Any]], now: float) -> None:
    """A row for each quota, for pipes; then what else there is to say of each account."""
    cells = [
        (
            row["account"], row["plan"] or "", line.quota, _figure(line.used), _limit(line),
            _share(line), line.ends, _age(row, now) or "now",
        )
        for row in rows
        for line in _lines(row, now)
    ]  # fmt: skip
    columns = ("account", "plan", "quota", "used", "limit", "share", "until", "as of")
    print_table(columns, cells, right=("used", "limit", "share"))
    for row in rows:
        if note := _note(row, now):
            print(clean(f"{row['account']}: {note}"))


def bar_of(share: float | None, size: int) -> str:
    """A bar that is full only when nothing is left, and empty only when nothing is used."""
    if share is None:
        return " " * size
    filled = size if share >= 1 else 0 if share <= 0 else min(size - 1, max(1, round(share * size)))
    return "█" * filled + "░" * (size - filled)


def _lines(row: Mapping[str, Any], now: float) -> Iterator[Line]:
    """Every quota; where there are several, what they are together."""
    total = _sum(row)
    parts = [part for part in row["parts"] if part.get("resource") in (None, "CREDIT")] or row["parts"]
    single = len(parts) <= 1
    if single:
        part = parts[0] if parts else {"kind": "plan", "endsAt": row["resetAt"]}
        yield Line(_quota(part), total, row["limit"], _ends(part, row["resetAt"], now))
    else:
        for part in parts:
            yield Line(_quota(part), part["used"], part["limit"], _ends(part, row["resetAt"], now))
        yield Line(TOGETHER, total, row["limit"])
    for part in row["parts"]:
        if part not in parts:
            yield Line(
                part.get("name") or part["resource"], part["used"], part["limit"], _ends(part, None, now)
            )
    if overage := row["overage"]:
        charges = overage.get("charges")
        cost = f"costs {charges:,.2f} {overage.get('currency') or ''}".rstrip() if charges else ""
        yield Line(BEYOND, overage["used"], overage.get("limit"), cost)


def _sum(row: Mapping[str, Any]) -> float | None:
    """What is used by now: Kiro's figure, and what was metered since."""
    if row["used"] is None and row["usedSince"] is None:
        return None
    return (row["used"] or 0.0) + (row["usedSince"] or 0.0)


def _quota(part: Mapping[str, Any]) -> str:
    return QUOTAS.get(part["kind"], part["kind"])


def _ends(part: Mapping[str, Any], reset: str | None, now: float) -> str:
    ends = part.get("endsAt") or (reset if part["kind"] == "plan" else None)
    if ends is None:
        return ""
    return f"{'resets' if part['kind'] == 'plan' else 'ends'} {when(_epoch(ends), now)}"


def _note(row: Mapping[str, Any], now: float) -> str:
    """The age of the figures, and what was metered by this program."""
    notes = []
    if age := _age(row, now):
        notes.append(f"Kiro's figures are {age}" if row["asOf"] else "Kiro has not said yet what is used")
    if row["usedSince"]:
        notes.append(
            f"{row['usedSince']:,.2f} metered since then {'is' if row['asOf'] else 'are'} counted in"
        )
    if row["lastTurn"] is not None:
        notes.append(f"the last turn took {row['lastTurn']:g} credits")
    if forecast := row.get("forecast"):
        notes.append(_paced(forecast, now))
    text = "; ".join(notes)
    return text[:1].upper() + text[1:]


def _paced(forecast: Mapping[str, Any], now: float) -> str:
    ends = forecast["runsOutAt"]
    until = f"it is used up {when(_epoch(ends), now)}" if ends else "it lasts until it begins anew"
    return f"at your pace, {forecast['creditsPerDay']:g} credits a day, {until}"


def _age(row: Mapping[str, Any], now: float) -> str:
    """How old the figures are; nothing where they are of now."""
    if row["asOf"] is None:
        return "never"
    read = _epoch(row["asOf"])
    return "" if now - read < _FRESH_SECONDS else f"of {when(read, now)}"


def _epoch(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def _share(line: Line) -> str:
    return "" if line.share is None else percent(line.share)


def _limit(line: Line) -> str:
    return "" if line.limit is None else _figure(line.limit)


def _figure(credits_: float | None) -> str:
    return "?" if credits_ is None else f"{credits_:,.2f}"
