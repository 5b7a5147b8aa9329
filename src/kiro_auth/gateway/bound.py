"""The one account that a request may ask for by a header: no other serves it, whatever becomes of it.

The header has the account's name, its e-mail, its organisation or its id, as a whole.  Programs that
`kiro-auth run` and `env` set up send the id, which stays when names change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.find import check_enabled, find
from kiro_auth.accounts.standing import is_of_one_account
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.gateway.http.head import Head
from kiro_auth.keys import rules
from kiro_auth.keys.key import ClientKey

HEADER: Final = "x-kiro-account"


def header_of(account: Account) -> Mapping[str, str]:
    """What a program sends with each request that is for this account alone."""
    return {HEADER: quote(account.id, safe="")}


def bound_to(
    head: Head, accounts: Callable[[], Sequence[Account]], key: ClientKey | None = None
) -> Account | None:
    """The account that a request asks for; None: any.  `accounts` are those that its `key` is for.

    Raises ConfigFailed: KA-ACCOUNT when there is no such one, KA-NO-ACCOUNT when there is none at all,
    KA-KEY-ACCOUNT when the key is not for it.
    A name may be percent-encoded, for clients whose headers take no letters beyond ASCII.
    """
    asked = head.all(HEADER)
    if not asked:
        return None
    if not asked[0].strip() or len(set(asked)) > 1:
        raise ConfigFailed(
            Failure(
                code="KA-ACCOUNT",
                message=f"The header {HEADER} must name one account.",
                next_step="Name it as `kiro-auth accounts` does, or leave the header out.",
            )
        )
    try:
        account = find(accounts(), unquote(_text(asked[0])), parts=False)
    except ConfigFailed as error:
        if key is None or not key.accounts:
            raise
        raise ConfigFailed(rules.account(key)) from error
    check_enabled(account)
    return account


def saying_so(failure: Failure, account: Account | None) -> Failure:
    """The failure of a request that asked for this account, where another account might have served it."""
    if account is None or not is_of_one_account(failure):
        return failure
    alone = f"The request asked for the account {account.name} alone, so no other was tried."
    return replace(failure, message=f"{failure.message} {alone}")


def _text(value: str) -> str:
    """A header's value that was sent as UTF-8, or, as some clients do, as Latin-1."""
    try:
        value.encode()
    except UnicodeEncodeError:  # halves of characters: it was no UTF-8
        return value.encode(errors="surrogateescape").decode("latin-1")
    return value
