"""The ways to choose among accounts: each names one account of a roster that has at least one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Roster
from kiro_auth.accounts.usage_row import share


def sticky(roster: Roster) -> Account:
    """The one used last; at first, the first."""
    return max(roster.accounts, key=lambda account: roster.last_used.get(account.id, 0))


def round_robin(roster: Roster) -> Account:
    """The one whose last use is longest ago."""
    return min(roster.accounts, key=lambda account: roster.last_used.get(account.id, 0))


def lowest_usage(roster: Roster) -> Account:
    """The one with the least share of its own quota used; among equals, the one whose turn it is."""
    return min(
        roster.accounts,
        key=lambda account: (
            share(roster.usage.get(account.id, {})),
            roster.last_used.get(account.id, 0),
        ),
    )


STRATEGIES: Final[Mapping[str, Callable[[Roster], Account]]] = {
    "sticky": sticky,
    "round-robin": round_robin,
    "lowest-usage": lowest_usage,
}
"""By the name that `account_selection_strategy` has for it.  Each needs at least one account."""
