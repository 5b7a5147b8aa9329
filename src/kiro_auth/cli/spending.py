"""Where the credits went, as the ledger has it: for `kiro-auth usage --by`."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import confirmed, is_interactive, print_json, say
from kiro_auth.cli.tables import print_table
from kiro_auth.cli.usage_table import bar_of
from kiro_auth.failures import ConfigFailed, Failure

if TYPE_CHECKING:
    from kiro_auth.ledger.reading import Total


class By(StrEnum):
    """What turns are put together by."""

    DAY = "day"
    MODEL = "model"
    PROJECT = "project"
    SESSION = "session"
    CLIENT = "client"
    ACCOUNT = "account"
    KEY = "key"


_NOT_TOLD: Final = "(not told)"
"""The key, in a table, of turns that do not say it."""
_DIGITS: Final = 6
_FIGURES: Final = ("turns", "credits", "inputTokens", "outputTokens", "failed")
_FORMULA: Final = re.compile(r"[=+\-@\t\r]")
"""What a spreadsheet takes for a formula when a cell begins with it."""
_BAR: Final = 8


def print_spending(by: By, since: str | None, until: str | None, *, as_json: bool, as_csv: bool) -> None:
    """The sums of the turns in that time.  Raises StoreFailed, BadParameter."""
    from kiro_auth.gateway.own_store import own_ledger
    from kiro_auth.ledger.reading import thrifty, totals

    begin = None if since is None else _moment(since, "--since", ends=False)
    end = None if until is None else _moment(until, "--until", ends=True)
    ledger = own_ledger()
    found = totals(ledger, by=by.value, since=begin, until=end)
    total = _figures(found)
    thrift = thrifty(ledger, since=begin, until=end)
    if as_json:
        rows = [{"key": row.key, **_figures([row])} for row in found]
        cheaper = {"thrift": _figures([thrift])} if thrift.turns else {}
        print_json({"rows": rows, "total": total, **cheaper})
    elif as_csv:
        _print_csv(by, found)
    elif not found:
        say(_nothing_found(all_of_it=begin is None and end is None))
    else:
        _print_table(by, _named(found) if by is By.KEY else found, total)
        if thrift.turns:
            turns = f"{thrift.turns:,} titles and summaries" if thrift.turns > 1 else "one title or summary"
            say(f"\nOf these a cheaper model answered {turns} for {thrift.credits:,.2f} credits (thrift).")


def _nothing_found(*, all_of_it: bool) -> str:
    from kiro_auth.config import load

    if not load().ledger:
        return "Turns are not kept: the option ledger is false."
    if all_of_it:
        return "The ledger has no turns yet. Each one that the gateway serves is put there."
    return "The ledger has no turns of that time."


def _named(rows: Sequence[Total]) -> list[Total]:
    """The sums of keys, with the keys' names beside their ids.  Raises StoreFailed."""
    from msgspec.structs import replace

    from kiro_auth.gateway.own_keys import own_keys

    names = {key.id: f"{key.name} ({key.id})" for key in own_keys().keys()}  # noqa: SIM118 (no mapping)
    return [replace(row, key=names.get(row.key or "", row.key)) for row in rows]


def forget_all(*, yes: bool) -> None:
    """Empty the ledger, once a person has said so.  Raises StoreFailed, ConfigFailed."""
    from kiro_auth.gateway.own_store import own_ledger

    if not yes and not is_interactive():
        message = "Nobody can be asked whether the ledger shall be emptied."
        raise ConfigFailed(
            Failure(code="KA-CONFIG", message=message, next_step="Say so: kiro-auth usage --forget --yes")
        )
    if not yes and not confirmed("Forget every turn of the ledger?", default=False):
        say("Nothing was changed.")
        return
    count = own_ledger().forget()
    say(f"The ledger is empty: {count:,} turns were forgotten." if count else "The ledger was empty.")


def _moment(text: str, option: str, *, ends: bool) -> float:
    """A day or a time of this machine's zone; of a day its beginning, or if it `ends` something its end."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            day = date.fromisoformat(text) + timedelta(days=ends)
            return datetime(day.year, day.month, day.day).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        hint = "must be a day such as 2026-11-01, or a time such as 2026-11-01T08:30"
        raise typer.BadParameter(hint, param_hint=option) from None


def _figures(rows: Sequence[Total]) -> dict[str, Any]:
    """The sums, by the names that programs know them by."""
    return {
        "turns": sum(row.turns for row in rows),
        "credits": round(sum(row.credits for row in rows), _DIGITS),
        "inputTokens": sum(row.input_tokens for row in rows),
        "outputTokens": sum(row.output_tokens for row in rows),
        "failed": sum(row.failed for row in rows),
    }


def _print_csv(by: By, rows: Sequence[Total]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((by.value, *_FIGURES))
    for row in rows:
        writer.writerow((_harmless(row.key or ""), *_figures([row]).values()))


def _harmless(text: str) -> str:
    """The text as a spreadsheet shows it; it came from a client, and may be meant as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def _print_table(by: By, rows: Sequence[Total], total: dict[str, Any]) -> None:
    """Within 80 columns; a key that is too long is shortened in a terminal."""
    most = max((row.credits for row in rows), default=0.0)
    longest = 24 if sys.stdout.isatty() else 120
    cells = [
        (
            _short(row.key or _NOT_TOLD, longest),
            f"{row.credits:,.2f}",
            bar_of(row.credits / most if most else None, _BAR),
            f"{row.turns:,}",
            _count(row.input_tokens),
            _count(row.output_tokens),
            f"{row.failed:,}" if row.failed else "",
        )
        for row in rows
    ]
    sums = (
        f"{total['credits']:,.2f}", "", f"{total['turns']:,}", _count(total["inputTokens"]),
        _count(total["outputTokens"]), f"{total['failed']:,}" if total["failed"] else "",
    )  # fmt: skip
    columns = (by.value, "credits", "", "turns", "tokens in", "out", "failed")
    print_table(
        columns, [*cells, ("together", *sums)], right=("credits", "turns", "tokens in", "out", "failed")
    )


def _short(text: str, longest: int) -> str:
    """The text within so many columns of a terminal."""
    from rich.cells import cell_len

    if cell_len(text) <= longest:
        return text
    while cell_len(text) >= longest:
        text = text[:-1]
    return f"{text}…"


def _count(tokens: int) -> str:
    """Tokens as people say them: 1.2 million."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")):
        if tokens >= size:
            return f"{tokens / size:.1f}{letter}"
    return str(tokens)
