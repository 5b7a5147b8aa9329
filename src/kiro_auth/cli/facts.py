"""What commands print of accounts, for people and for programs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.output import NO_ACCOUNT, print_table
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account


def described(account: Account) -> dict[str, Any]:
    """One account for programs, as it stands now."""
    from kiro_auth.accounts.view import account_view

    return account_view(account, time.time())


def print_accounts(found: list[Account]) -> None:
    """The accounts as a table and what there is to say of each below it, or how to get one."""
    from kiro_auth.accounts.health import effective
    from kiro_auth.accounts.view import masked, remarks

    if not found:
        typer.echo(NO_ACCOUNT)
        return
    now = time.time()
    rows = [
        (a.name, KINDS[a.kind].words, a.service_region, effective(a, now), masked(a.real_email or a.email))
        for a in found
    ]
    print_table(("name", "kind", "region", "state", "e-mail"), rows)
    lines = [line for account in found for line in remarks(account, now)]
    if lines:
        typer.echo("\n" + "\n".join(lines))
