"""What a client is told when no account serves its request: the reason of each account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Roster
from kiro_auth.failures import Cause, Failure
from kiro_auth.json_values import as_number

NO_ACCOUNT: Final = Failure(
    code="KA-NO-ACCOUNT",
    message="No Kiro account is signed in.",
    next_step="Sign in: kiro-auth login. "
    "Or share the sign-in of kiro-cli or Kiro's IDE: kiro-auth accounts import",
)


def is_of_one_account(failure: Failure) -> bool:
    """Whether another account may do better: its own sign-in, plan, models, record or lock are asked.

    All accounts are in the same database, and their tokens in the same keyring.
    """
    if failure.code in ("KA-DATABASE", "KA-KEYRING"):
        return False
    return failure.cause in (Cause.ACCOUNT, Cause.SETUP) or failure.code == "KA-MODEL"


def kept_back(roster: Roster) -> list[Failure]:
    """Of each account that could serve if what is left of its plan were not kept back: that it is."""
    return [
        Failure(
            code="KA-BUDGET",
            message=f"The plan of {account.name} has only the {roster.reserve:.0%} left that you keep back.",
            next_step="To use them, lower reserve in kiro.json, then kiro-auth reload.",
            until=(as_number(roster.usage.get(account.id, {}).get("resetAt")) or 0) / 1000 or None,
            account=account.name,
        )
        for account in roster.usable()
        if roster.kept_back(account)
    ]


class UsedUp(Struct, frozen=True):
    """No account can take a request, as the plan of one at least is used up.

    `until` is when Kiro says that the first of those plans begins anew (epoch seconds), None: it did not say;
    `account` is its name.
    """

    until: float | None
    account: str


def used_up(roster: Roster) -> UsedUp | None:
    """What there is to wait for; None where an account is ready, or no plan is used up."""
    if roster.usable():
        return None
    spent = [account for account in roster.accounts if health.effective(account, roster.now) == "quota"]
    if not spent:
        return None
    resets = [
        (account.state_until / 1000, account.name)
        for account in spent
        if account.state_until and account.state_until_stated is not False
    ]
    return UsedUp(*min(resets)) if resets else UsedUp(None, spent[0].name)


def final(
    failures: Sequence[Failure],
    accounts: Sequence[Account],
    now: float,
    unspent: Sequence[Failure] = (),
) -> Failure:
    """The last failure of a request, or with several accounts in its way the reason of each.

    `failures` are those of the request's attempts, each with its account's name, `unspent` those of the
    accounts that were not asked because their rest is kept back; `now` is in epoch seconds.
    """
    if failures and not is_of_one_account(failures[-1]):
        return _noted(failures[-1], now)
    failures = [_noted(failure, now) for failure in (*unspent, *failures)]
    last = failures[-1] if failures else NO_ACCOUNT
    if last.cause is not Cause.ACCOUNT and all(failure.code == last.code for failure in failures):
        return last  # all say the same, as of a model that nobody has
    enabled = [account for account in accounts if account.state != "disabled"] or accounts
    standing = [reason for account in enabled if (reason := _standing(failures, account, now))]
    if len(standing) < 2:
        return standing[0] if standing else last
    reasons = [f"- {failure.account}: {failure.sentence()}" for failure in standing]
    return Failure(
        code="KA-ACCOUNTS-BUSY",
        message="\n".join(["No account can take the request now.", *reasons]),
        next_step="See: kiro-auth accounts",
        until=min((failure.until for failure in standing if failure.until), default=None),
        next_try=min((failure.next_try for failure in standing if failure.next_try), default=None),
        noted_at=now,
        retry_after=min((f.retry_after for f in standing if f.retry_after), default=None),
    )


def _noted(failure: Failure, now: float) -> Failure:
    """The failure with the time that its end is counted from, if it has one."""
    ends = failure.until or failure.next_try
    return msgspec.structs.replace(failure, noted_at=now) if ends else failure


def _standing(failures: Sequence[Failure], account: Account, now: float) -> Failure | None:
    """Why this account does not serve the request: its own failure in it, with what its state adds."""
    own = [failure for failure in failures if failure.account == account.name]
    if health.usable(account, now):
        return own[-1] if own else None
    stated = health.failure_of(account, now)
    if not own:
        return stated
    failure = msgspec.structs.replace(
        own[-1],
        next_step=own[-1].next_step or stated.next_step,
        until=own[-1].until or stated.until,
        next_try=own[-1].next_try or stated.next_try,
        retry_after=own[-1].retry_after or stated.retry_after,
    )
    return _noted(failure, now)
