"""Accounts of the same name, told apart: by what they sign in with, else by the start of their ids.

All of them are, so that a name which once meant one account never comes to mean another in silence.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.names import folded
from kiro_auth.kinds import KINDS

_MOST: Final = 3
"""The last of the ways of `_apart`."""


def told_apart(accounts: Sequence[Account]) -> tuple[Account, ...]:
    """The same accounts in the same order, no two of which have names that people would take for one.

    Ids are taken to be unique; where they are not, the order in the store tells.
    """
    named = [replace(account, apart="") if account.apart else account for account in accounts]
    names = [folded(account.name) for account in named]
    ways = [0] * len(named)
    while True:
        times = Counter(names)
        shared = [at for at, name in enumerate(names) if times[name] > 1]
        if not any(ways[at] < _MOST for at in shared):
            return _numbered(named, shared)
        for at in shared:
            ways[at] = min(ways[at] + 1, _MOST)
            named[at] = replace(named[at], apart=_apart(named[at], ways[at]))
            names[at] = folded(named[at].name)


def _apart(account: Account, way: int) -> str:
    """What stands behind the name, from nothing to what no other account has."""
    return ("", f"({_where(account)})", f"({account.id[:6]})", f"({account.id})")[way]


def _where(account: Account) -> str:
    """What the account signs in with; an organisation that is the name already has a region beside it."""
    if account.organisation and account.organisation != replace(account, apart="").name:
        return account.organisation
    return account.service_region if account.organisation else KINDS[account.kind].short


def _numbered(accounts: Sequence[Account], shared: Sequence[int]) -> tuple[Account, ...]:
    taken = {folded(account.name) for account in accounts}
    numbered = list(accounts)
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))
    for at in shared:
        account = accounts[at]
        for number in numbers[account.id]:
            numbered[at] = replace(account, apart=f"({account.id}, {number})")
            if (name := folded(numbered[at].name)) not in taken:
                taken.add(name)
                break
    return tuple(numbered)
