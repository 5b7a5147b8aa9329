"""The account that a command is for: the one that was named, or the one that the person picks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.output import INTERRUPTED, is_interactive, say
from kiro_auth.cli.questions import ask
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account


def completions(incomplete: str) -> list[str]:
    """The names that a shell completes; those of several words need quotes, which the person has to type."""
    from kiro_auth.accounts import roster
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.gateway.own_store import own_store

    try:
        accounts, _ = roster.readable(own_store().snapshot().accounts)
    except KiroAuthError:  # a damaged file is told of by the command itself
        return []
    names = [account.name for account in accounts]
    return [name for name in names if name.startswith(incomplete) and len(name.split()) == 1]


NAME: Final = typer.Argument(
    None,
    autocompletion=completions,
    help="The account: its name as `kiro-auth accounts` shows it, any part of it that fits no other, your "
    "e-mail, or the first 6 or more characters of its id. Without it you pick one.",
)
_ALL: Final = "0"


def named_or_picked(accounts: Sequence[Account], name: str | None, *, ask: bool = True) -> Account:
    """The account of this name; without one the only one there is, or the one that the person picks.

    Without `ask`, or where nobody can be asked, a name is needed.  Raises ConfigFailed.
    """
    from kiro_auth.accounts.find import find, listed
    from kiro_auth.failures import ConfigFailed, Failure

    if name is not None or not accounts:  # of none whatever name is looked for: that says so
        return find(accounts, name or "")
    if not ask or not is_interactive():
        raise ConfigFailed(
            Failure(
                code="KA-ACCOUNT",
                message="No account was named, and nobody can be asked here.",
                next_step=f"Your accounts: {listed(accounts)}.",
            )
        )
    return accounts[0] if len(accounts) == 1 else _picked(accounts)[0]


def picked_or_all(accounts: Sequence[Account]) -> Sequence[Account]:
    """The one that the person picks, or all; all where nobody can be asked."""
    return _picked(accounts, all_too=True) if len(accounts) > 1 and is_interactive() else accounts


def _picked(accounts: Sequence[Account], *, all_too: bool = False) -> Sequence[Account]:
    """Asks until the answer is a number of the list, or finds an account.  Ctrl-C ends the command."""
    from kiro_auth.accounts.find import find
    from kiro_auth.accounts.view import state_words

    width, now = max(len(account.name) for account in accounts), time.time()
    for number, account in enumerate(accounts, 1):
        what = f"{KINDS[account.kind].words}, {state_words(account, now)}"
        say(f"{number:>3}  {account.name.ljust(width)}  {what}")
    if all_too:
        say(f"{_ALL:>3}  all of them")

    def read(answer: str) -> Sequence[Account]:
        if all_too and answer.strip() == _ALL:
            return accounts
        return [_numbered(accounts, answer.strip()) or find(accounts, answer.strip())]

    try:
        return ask("Which account? Its number, or its name", read, default=_ALL if all_too else "")
    except typer.Abort:
        say("\nNothing was changed.")
        raise typer.Exit(INTERRUPTED) from None


def _numbered(accounts: Sequence[Account], answer: str) -> Account | None:
    """The account with this number in the list; None for what is no such number.  Raises ConfigFailed."""
    from kiro_auth.accounts.find import SHORTEST_ID
    from kiro_auth.failures import ConfigFailed, Failure

    if not answer.isdecimal() or len(answer) >= SHORTEST_ID:  # that is the start of an id
        return None
    if not 1 <= int(answer) <= len(accounts):
        message = f"There is no number {answer} in the list."
        raise ConfigFailed(Failure(code="KA-ACCOUNT", message=message))
    return accounts[int(answer) - 1]
