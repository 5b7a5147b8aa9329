"""The account that a person means: by its name, or by any part of it that fits no other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.names import folded, masked, without_emails
from kiro_auth.accounts.roster import Unreadable
from kiro_auth.accounts.standing import NO_ACCOUNT
from kiro_auth.failures import ConfigFailed, Failure

SHORTEST_ID: Final = 6
"""How many digits of an id stand for the account; fewer, or none by mistake, stand for nothing."""
_SHOWN: Final = 60
"""Characters of what was typed that are said again."""

_TWICE: Final = Failure(
    code="KA-ACCOUNT",
    message="Two entries have this id, and one of them cannot be read.",
    next_step="Take that one out of kiro-accounts.json.",
)

_Fits: TypeAlias = Callable[[Account, str], bool]


def find(accounts: Sequence[Account], typed: str, *, parts: bool = True) -> Account:
    """The account that is meant, in any case: by its name, else by its id, e-mail or organisation, else by a
    part of what is seen of these.

    What is whole counts before what is a part.  Without `parts` only what is whole counts: what was written
    down for later would mean another account once the one that was meant is gone.

    Raises ConfigFailed when not exactly one fits: KA-ACCOUNT, which lists the names, or KA-NO-ACCOUNT.
    """
    wanted = folded(typed)
    if not accounts:
        raise ConfigFailed(NO_ACCOUNT)
    for fits in _WAYS if parts else _WHOLE:
        fitting = [account for account in accounts if wanted and fits(account, wanted)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ConfigFailed(_several(typed, fitting))
    raise ConfigFailed(_none(typed, accounts))


def find_any(
    accounts: Sequence[Account], unreadable: Sequence[Unreadable], typed: str
) -> Account | Unreadable:
    """As `find`, also among those that cannot be read: by their ids, or the beginnings of these.

    Raises ConfigFailed as well when one that can be read and one that cannot have this id.
    """
    found = None
    with contextlib.suppress(ConfigFailed):
        found = find(accounts, typed, parts=False)
    if found is not None:
        if any(each.id == found.id for each in unreadable):
            raise ConfigFailed(_TWICE)
        return found
    wanted = folded(typed)
    for fits in (str.__eq__, str.startswith):
        fitting = [each for each in unreadable if each.id and fits(folded(each.id), wanted)]
        if len(fitting) == 1 and (len(wanted) >= SHORTEST_ID or folded(fitting[0].id) == wanted):
            return fitting[0]
    return find(accounts, typed)


def check_enabled(account: Account) -> None:
    """Whether requests may ask for the account.  Raises ConfigFailed when its owner switched it off."""
    if account.state == "disabled":
        raise ConfigFailed(
            Failure(
                code="KA-ACCOUNT",
                message=f"The account {account.name} is disabled.",
                next_step=f"To use it again: {health.enabling(account)}",
                account=account.name,
            )
        )


def listed(accounts: Sequence[Account]) -> str:
    """The names, for a sentence."""
    return ", ".join(account.name for account in accounts)


def _is_named(account: Account, wanted: str) -> bool:
    return folded(account.name) == wanted


def _is_whole(account: Account, wanted: str) -> bool:
    email = account.known_email or ""
    return wanted in map(folded, (account.id, email, masked(email), account.organisation))


def _is_part(account: Account, wanted: str) -> bool:
    email = account.known_email
    seen = (account.name, masked(email), account.organisation)
    return (
        any(wanted in folded(words) for words in seen)
        or (len(wanted) >= SHORTEST_ID and folded(account.id).startswith(wanted))
        or folded(email or "").startswith(wanted)
    )


_WHOLE: Final[tuple[_Fits, ...]] = (_is_named, _is_whole)
_WAYS: Final = (*_WHOLE, _is_part)


def _several(typed: str, fitting: Sequence[Account]) -> Failure:
    return Failure(
        code="KA-ACCOUNT",
        message=f"{_said(typed)} fits more than one account: {listed(fitting)}.",
        next_step="Say more of the name.",
    )


def _none(typed: str, accounts: Sequence[Account]) -> Failure:
    wanted, hint = folded(typed), ""
    if wanted and any(folded(account.id).startswith(wanted) for account in accounts):  # but it is too short
        hint = f" The start of an id needs {SHORTEST_ID} characters or more."
    return Failure(
        code="KA-ACCOUNT",
        message=f"No account is called {_said(typed)}.{hint}",
        next_step=f"Your accounts: {listed(accounts)}.",
    )


def _said(typed: str) -> str:
    """What was typed, without an e-mail in full."""
    return repr(without_emails(typed)[:_SHOWN])
