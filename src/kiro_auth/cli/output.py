"""How commands speak: facts on stdout, failures on stderr, wrapped and coloured only where a person looks."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from kiro_auth.cli.tables import print_table as print_table
from kiro_auth.cli.terminal import fitted, styled
from kiro_auth.failures import Failure
from kiro_auth.texts import escaped

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.accounts.roster import Unreadable
    from kiro_auth.store.protocol import Store

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C."""
NO_ACCOUNT: Final = (
    "No account yet. Sign in: kiro-auth login. "
    "Or share the sign-in of kiro-cli or Kiro's IDE: kiro-auth accounts import"
)
STATE_COLOURS: Final = {
    "ready": "green",
    "throttled": "yellow",
    "paused": "yellow",
    "out of credits": "yellow",
    "suspended": "red",
    "signed out": "red",
    "disabled": "dim",
}
"""The words for states are in `accounts/view.py`; a colour only underlines them."""

_SAYS_ALL: Final = ("KA-CONFIG", "KA-INTERNAL")
"""Codes of which there is no more to say than the message does."""


def say(text: str) -> None:
    """A sentence on stdout."""
    print(fitted(text, sys.stdout), flush=True)


def print_failure(failure: Failure) -> None:
    """`error: sentence` on stderr, and to a person how to read more about it."""
    print_error(spoken(failure))
    if sys.stderr.isatty() and failure.code not in _SAYS_ALL:
        print_note(f"More about it: kiro-auth explain {failure.code}")


def print_error(text: str) -> None:
    """`error: text` on stderr."""
    _print_marked("error", "red", text)


def print_note(text: str) -> None:
    """Something to know besides, on stderr, so that stdout holds facts only."""
    _print_marked("note", "yellow", text)


def note_failure(failure: Failure) -> None:
    """A failure that does not end the command."""
    print_note(spoken(failure))


class Notes(logging.Handler):
    """Shows what is logged as notes: for commands, which keep no log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Show one, in the place of a sign of life if there is one."""
        text = record.getMessage()
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
        print_note(text[:1].upper() + text[1:])


def spoken(failure: Failure) -> str:
    """The failure in a person's own time."""
    return failure.spoken(time.time())


def _print_marked(mark: str, colour: str, text: str) -> None:
    rest = fitted(f"{mark}: {text}", sys.stderr).removeprefix(f"{mark}:")
    print(f"{styled(f'{mark}:', colour, sys.stderr)}{rest}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON value, indented."""
    import msgspec

    print(escaped(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()), flush=True)


def print_json_line(value: Any) -> None:
    """One JSON value on one line, for commands that print several."""
    import msgspec

    print(escaped(msgspec.json.encode(value).decode()), flush=True)


def readable(store: Store) -> list[Account]:
    """Every account of the store that can be read; why the others cannot is said."""
    return readable_and_not(store)[0]


def readable_and_not(store: Store) -> tuple[list[Account], list[Unreadable]]:
    """Every account of the store that can be read, and every other one; why they cannot is said."""
    from kiro_auth.accounts.roster import read_all

    accounts, others = read_all(store.snapshot())
    for each in others:
        note_failure(each.failure)
    return list(accounts), others


def described(account: Account | Unreadable) -> dict[str, Any]:
    """One account for programs, as it stands now."""
    from kiro_auth.accounts.roster import Unreadable
    from kiro_auth.accounts.view import account_view, unreadable_view

    if isinstance(account, Unreadable):
        return unreadable_view(account)
    return account_view(account, time.time())


def print_accounts(accounts: list[Account]) -> None:
    """The accounts as a table and what there is to say of each below it, or how to get one."""
    from kiro_auth.accounts.names import masked
    from kiro_auth.accounts.view import remarks, state_words
    from kiro_auth.kinds import KINDS

    if not accounts:
        say(NO_ACCOUNT)
        return
    now = time.time()
    emails = [masked(account.known_email) for account in accounts]
    tells_more = any(email not in (a.name, "") for a, email in zip(accounts, emails, strict=True))
    rows = [
        (a.name, KINDS[a.kind].words, a.service_region, state_words(a, now), *([email] if tells_more else []))
        for a, email in zip(accounts, emails, strict=True)
    ]
    columns = ("name", "kind", "region", "state", *(["e-mail"] if tells_more else []))
    print_table(columns, rows, colours={"state": STATE_COLOURS})
    lines = [line for account in accounts for line in remarks(account, now)]
    if lines:
        say("\n" + "\n".join(lines))


def is_interactive() -> bool:
    """Whether a person can be asked something."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def confirmed(question: str, *, default: bool) -> bool:
    """Whether the person says yes; Ctrl-C ends the command."""
    import typer

    while True:
        try:
            answer = input(f"{question} [{'Y/n' if default else 'y/N'}]: ").strip().lower()
        except (KeyboardInterrupt, EOFError):
            say("\nNothing was changed.")
            raise typer.Exit(INTERRUPTED) from None
        if answer in ("", "y", "yes", "n", "no"):
            return answer[0] == "y" if answer else default
        say("Please answer y or n.")


def counted(count: int, what: str) -> str:
    """So many of something: `1 account`, `2 accounts`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
