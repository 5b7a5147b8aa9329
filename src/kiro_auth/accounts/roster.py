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
from kiro_auth.store.protocol import Record, Snapshot
from kiro_auth.texts import shown


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


class Unreadable(Struct, frozen=True):
    """An account of a store that cannot be read: its id as far as that is known, else empty, and why."""

    id: str
    failure: Failure

    @property
    def name(self) -> str:
        """What to call it: what else it is called cannot be read."""
        return shown(self.id)


def readable(records: Iterable[Record]) -> tuple[tuple[Account, ...], list[Unreadable]]:
    """The accounts of a store, no two of one name, and those whose records cannot be read."""
    return Reader().read(records)


def read_all(snapshot: Snapshot) -> tuple[tuple[Account, ...], list[Unreadable]]:
    """As `readable`; among the others are also those whose records do not open."""
    accounts, damaged = readable(snapshot.accounts)
    return accounts, [*damaged, *unopened(snapshot)]


def unopened(snapshot: Snapshot) -> list[Unreadable]:
    """Those of a store whose records do not open."""
    return [Unreadable(account_id, why) for account_id, why in snapshot.unreadable.items()]


class Reader:
    """Reads the accounts of a store again and again: those whose records did not change are not read anew."""

    def __init__(self) -> None:
        self._before: dict[object, tuple[Record, Account]] = {}  # by the records' ids

    def read(self, records: Iterable[Record]) -> tuple[tuple[Account, ...], list[Unreadable]]:
        """The accounts, no two of one name, and those whose records cannot be read."""
        accounts: list[Account] = []
        damaged: list[Unreadable] = []
        before, self._before = self._before, {}
        for record in records:
            id_ = str(record.get("id"))
            known = before.get(id_)
            try:
                account = known[1] if known and known[0] == record else account_of(record)
            except StoreFailed as error:
                known_id = record.get("id")
                damaged.append(Unreadable(known_id if isinstance(known_id, str) else "", error.failure))
            else:
                self._before[id_] = record, account
                accounts.append(account)
        return told_apart(accounts), damaged
