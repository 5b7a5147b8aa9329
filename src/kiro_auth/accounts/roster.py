"""The accounts as they stand at one moment: what a choice among them looks at, and nothing that changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.apart import told_apart
from kiro_auth.accounts.usage_row import share
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store.protocol import Record


class Roster(Struct, frozen=True):
    """Accounts in their stored order, at the time `now` (epoch seconds).

    By account id: `usage` has the usage rows, `last_used` counts up with every lease (an account that is not
    in it was never used), `in_flight` is how many requests it serves.
    """

    accounts: tuple[Account, ...]
    usage: Mapping[str, Mapping[str, Any]] = {}
    last_used: Mapping[str, int] = {}
    in_flight: Mapping[str, int] = {}
    now: float = 0.0
    reserve: float = 0.0
    """The share of each plan that is kept back."""

    def usable(self) -> list[Account]:
        """Those that may take a request."""
        return [account for account in self.accounts if health.usable(account, self.now)]

    def kept_back(self, account: Account) -> bool:
        """Whether so little is left of the account's plan that it takes no request."""
        return self.reserve > 0 and share(self.usage.get(account.id, {})) >= 1 - self.reserve

    def throttled(self) -> list[tuple[float, Account]]:
        """Those that the service asked to slow down, each with the seconds that are left of it."""
        return [
            (max(0.0, (account.state_until or 0) / 1000 - self.now), account)
            for account in self.accounts
            if (account.state, account.state_code) == ("cooling", "KA-THROTTLE")
        ]


def readable(records: Iterable[Record]) -> tuple[tuple[Account, ...], list[Failure]]:
    """The accounts of a store, no two of one name, and why the others cannot be read."""
    return Reader().read(records)


class Reader:
    """Reads the accounts of a store again and again: those whose records did not change are not read anew."""

    def __init__(self) -> None:
        self._before: dict[object, tuple[Record, Account]] = {}  # by the records' ids

    def read(self, records: Iterable[Record]) -> tuple[tuple[Account, ...], list[Failure]]:
        """The accounts, no two of one name, and why the others cannot be read."""
        accounts, failures = [], []
        before, self._before = self._before, {}
        for record in records:
            id_ = str(record.get("id"))
            known = before.get(id_)
            try:
                account = known[1] if known and known[0] == record else account_of(record)
            except StoreFailed as error:
                failures.append(error.failure)
            else:
                self._before[id_] = record, account
                accounts.append(account)
        return told_apart(accounts), failures
