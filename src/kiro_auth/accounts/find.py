"""The account that a person means by a name or by the start of an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.failures import ConfigFailed, Failure

SHORTEST_ID: Final = 6
"""How many digits of an id stand for the account; fewer, or none by mistake, stand for nothing."""


def find(accounts: Sequence[Account], name: str) -> Account:
    """The account of this name, or whose id starts so.  Raises ConfigFailed when not exactly one fits."""
    named = [account for account in accounts if account.name == name]
    fitting = named or [a for a in accounts if len(name) >= SHORTEST_ID and a.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    message = f"More than one account is called {name!r}." if fitting else f"No account is called {name!r}."
    if not fitting and name and any(account.id.startswith(name) for account in accounts):
        message += f" The start of an id needs {SHORTEST_ID} characters or more."
    raise ConfigFailed(
        Failure(code="KA-CONFIG", message=message, next_step="Names and ids: kiro-auth accounts --json")
    )
