"""Accounts of the same name, told apart: by what they sign in with, else by the start of their ids.

All of them are, so that a name which once meant one account never comes to mean another in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    bare = [replace(account, apart="") for account in accounts]
    ways = [0] * len(bare)
    while True:
        named = [replace(each, apart=_apart(each, way)) for each, way in zip(bare, ways, strict=True)]
        shared = _shared(named)
        if not any(ways[at] < _MOST for at in shared):
            return _numbered(named, shared)
        for at in shared:
            ways[at] = min(ways[at] + 1, _MOST)


def _apart(account: Account, way: int) -> str:
    """What stands behind the name, from nothing to what no other account has."""
    return ("", f"({_where(account)})", f"({account.id[:6]})", f"({account.id})")[way]


def _where(account: Account) -> str:
    """What the account signs in with; an organisation that is the name already has a region beside it."""
    if account.organisation and account.organisation != replace(account, apart="").name:
        return account.organisation
    return account.service_region if account.organisation else KINDS[account.kind].short


def _shared(accounts: Sequence[Account]) -> list[int]:
    names = [folded(account.name) for account in accounts]
    times = Counter(names)
    return [at for at, name in enumerate(names) if times[name] > 1]


def _numbered(accounts: Sequence[Account], shared: Sequence[int]) -> tuple[Account, ...]:
    taken = {folded(account.name) for account in accounts}
    numbered = list(accounts)
    for at in shared:
        account = accounts[at]
        for number in count(1):
            numbered[at] = replace(account, apart=f"({account.id}, {number})")
            if (name := folded(numbered[at].name)) not in taken:
                taken.add(name)
                break
    return tuple(numbered)
