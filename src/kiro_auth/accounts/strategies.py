"""Which account takes a request: pure functions over a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.usage_row import used_credits


class Snapshot(Struct, frozen=True):
    """What a choice looks at: usable accounts with a free slot, their usage rows by id, and who was last.

    `last_used` counts up with every lease, by account id; an account that is not in it was never used.
    """

    accounts: Sequence[Account]
    usage: Mapping[str, Mapping[str, Any]]
    last_used: Mapping[str, int]


def sticky(snapshot: Snapshot) -> Account:
    """The one used last; at first, the first."""
    return max(snapshot.accounts, key=lambda account: snapshot.last_used.get(account.id, 0))


def round_robin(snapshot: Snapshot) -> Account:
    """The one whose last use is longest ago."""
    return min(snapshot.accounts, key=lambda account: snapshot.last_used.get(account.id, 0))


def lowest_usage(snapshot: Snapshot) -> Account:
    """The one with the least share of its own quota used; among equals, the one whose turn it is."""
    return min(
        snapshot.accounts,
        key=lambda account: (
            share(snapshot.usage.get(account.id, {})),
            snapshot.last_used.get(account.id, 0),
        ),
    )


def share(row: Mapping[str, Any]) -> float:
    """Used part of the quota; 0 when nothing is known, so that new accounts are tried."""
    used, limit = used_credits(row), row.get("limitCount")
    if used is None or not isinstance(limit, int | float) or limit <= 0:
        return 0.0
    return used / limit


STRATEGIES: Final[Mapping[str, Callable[[Snapshot], Account]]] = {
    "sticky": sticky,
    "round-robin": round_robin,
    "lowest-usage": lowest_usage,
}
"""By the name that `account_selection_strategy` has for it.  Each needs at least one account."""
