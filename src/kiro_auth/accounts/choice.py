"""Which account takes a request, decided at once and from values alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Roster

NOBODY: Final[frozenset[str]] = frozenset()
"""No accounts."""


def ids(names: Iterable[str]) -> frozenset[str]:
    """Accounts by their ids, as a set that is the same one if it is empty: a silent stream holds some."""
    return frozenset(names) or NOBODY


class Wish(Struct, frozen=True):
    """What one request looks for; accounts are named by their ids.

    `home` is the account that its conversation stays with.  `unsuited` are those whose plan lacks the model:
    they come last.  `tried` are those that failed it, `insist` names one to go back to all the same.  `only`
    is the one that the client asked for: nobody else may serve it.  `allowed` are those that its key is for;
    none means all.
    """

    home: str | None = None
    unsuited: frozenset[str] = NOBODY
    tried: frozenset[str] = NOBODY
    insist: str | None = None
    only: str | None = None
    allowed: frozenset[str] = NOBODY

    def within(self, roster: Roster) -> Roster:
        """The roster with those accounts alone that may serve it."""
        if self.only is None and not self.allowed:
            return roster
        return replace(roster, accounts=tuple(a for a in roster.accounts if self._may_serve(a)))

    def _may_serve(self, account: Account) -> bool:
        asked_for = self.only is None or account.id == self.only
        return asked_for and (not self.allowed or account.id in self.allowed)


class Chosen(Struct, frozen=True):
    """The account takes the request; `settles`: its conversation stays with it from here on."""

    account: Account
    settles: bool


class AllBusy(Struct, frozen=True):
    """Accounts could take the request, but all their slots are in use."""


class NoneReady(Struct, frozen=True):
    """No account can take the request.

    `wait` is the seconds until one that was asked to slow down may be asked again; infinite if none was.
    """

    wait: float


Pick: TypeAlias = Chosen | AllBusy | NoneReady


def pick(roster: Roster, wish: Wish, strategy: Callable[[Roster], Account], slots: int) -> Pick:
    """The account for a request, of those with fewer than `slots` requests under way."""
    roster = wish.within(roster)
    able = _able(roster, wish)
    if not able:
        waits = [wait for wait, account in roster.throttled() if account.id not in wish.tried]
        return NoneReady(min(waits, default=math.inf))
    free = [account for account in able if roster.in_flight.get(account.id, 0) < slots]
    if not free:
        return AllBusy()
    settles = wish.only is None
    if wish.home is not None:
        for account in free:
            if account.id == wish.home:
                return Chosen(account, settles=False)
        # Keep the conversation's account when it is only busy, or when this one turn asked for another.
        settles = settles and wish.home not in [account.id for account in able]
    if len(free) == 1:
        return Chosen(free[0], settles)
    if len(free) < len(roster.accounts):
        roster = replace(roster, accounts=tuple(free))
    return Chosen(strategy(roster), settles)


def candidates(roster: Roster, wish: Wish) -> list[Account]:
    """The accounts that could take the request if they had a free slot."""
    return _able(wish.within(roster), wish)


def _able(roster: Roster, wish: Wish) -> list[Account]:
    for account in roster.accounts if wish.insist is not None else ():
        # It cooled down for as long as it was asked to; any other state came from elsewhere meanwhile.
        if account.id == wish.insist and health.effective(account, roster.now) in ("ready", "cooling"):
            return [account]
    able = roster.usable()
    if roster.reserve > 0:
        able = [account for account in able if not roster.kept_back(account)]
    if wish.tried:
        able = [account for account in able if account.id not in wish.tried]
    if not wish.unsuited:
        return able
    return [account for account in able if account.id not in wish.unsuited] or able
