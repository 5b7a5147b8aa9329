"""How commands speak: facts on stdout, failures on stderr, colours only where a person looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from kiro_auth.failures import Failure

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.store.protocol import Store

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""
NO_ACCOUNT: Final = (
    "No account yet. Sign in: kiro-auth login. "
    "Or share the sign-in of kiro-cli or Kiro's IDE: kiro-auth accounts import"
)

_GAP: Final = "  "
_SAYS_ALL: Final = ("KA-CONFIG", "KA-INTERNAL")
"""Codes of which there is no more to say than the message does."""


def print_failure(failure: Failure) -> None:
    """`error: sentence` on stderr, and to a person how to read more about it."""
    print(f"error: {failure.sentence()}", file=sys.stderr, flush=True)
    if sys.stderr.isatty() and failure.code not in _SAYS_ALL:
        print_note(f"More about it: kiro-auth explain {failure.code}")


def print_note(text: str) -> None:
    """Something to know besides, on stderr, so that stdout holds facts only."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def note_failure(failure: Failure) -> None:
    """A failure that does not end the command."""
    print_note(failure.sentence())


def print_json(value: Any) -> None:
    """One JSON value, indented."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), flush=True)


def print_json_line(value: Any) -> None:
    """One JSON value on one line, for commands that print several."""
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn in a terminal, plain columns in a pipe."""
    if sys.stdout.isatty():
        _print_drawn(columns, rows)
    else:
        _print_plain(columns, rows)


def _print_drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as far as they fit in the terminal, the others below their row: nothing is cut or folded."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console()
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    ends = list(accumulate(widths, lambda end, width: end + len(_GAP) + width))
    fitting = max(1, sum(end <= console.width for end in ends))

    def line(cells: Sequence[str]) -> str:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False))
        return _GAP.join(padded).rstrip()

    def show(text: str, style: str = "") -> None:
        # As text: a `[` in a name is no markup.  What is too long all the same is folded by the terminal,
        # which copies it whole.
        console.print(Text(text, style), soft_wrap=True)

    show(line(columns[:fitting]), "bold")
    show("─" * min(ends[fitting - 1], console.width))
    for row in rows:
        show(line(row[:fitting]))
        for column, cell in zip(columns[fitting:], row[fitting:], strict=True):
            if cell:
                show(f"{_GAP}{column}: {cell}")


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        print(_GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    sys.stdout.flush()


def readable(store: Store) -> list[Account]:
    """Every account of the store that can be read; why the others cannot is said."""
    from kiro_auth.accounts import roster

    accounts, failures = roster.readable(store.snapshot().accounts)
    for failure in failures:
        note_failure(failure)
    return list(accounts)


def described(account: Account) -> dict[str, Any]:
    """One account for programs, as it stands now."""
    from kiro_auth.accounts.view import account_view

    return account_view(account, time.time())


def print_accounts(accounts: list[Account]) -> None:
    """The accounts as a table and what there is to say of each below it, or how to get one."""
    from kiro_auth.accounts.health import effective
    from kiro_auth.accounts.view import masked, remarks
    from kiro_auth.kinds import KINDS

    if not accounts:
        print(NO_ACCOUNT)
        return
    now = time.time()
    rows = [
        (a.name, KINDS[a.kind].words, a.service_region, effective(a, now), masked(a.real_email or a.email))
        for a in accounts
    ]
    print_table(("name", "kind", "region", "state", "e-mail"), rows)
    lines = [line for account in accounts for line in remarks(account, now)]
    if lines:
        print("\n" + "\n".join(lines))


def is_interactive() -> bool:
    """Whether a person can be asked something."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirmed(question: str, *, default: bool) -> bool:
    """Whether the person says yes; Ctrl-C ends the command."""
    import typer

    try:
        return typer.confirm(question, default=default)
    except typer.Abort:
        typer.echo("\nNothing was changed.")
        raise typer.Exit(INTERRUPTED) from None
