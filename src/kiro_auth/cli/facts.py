"""What commands say of an account, for people and for programs; secrets are left out."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import NO_ACCOUNT, iso_time, masked, print_table
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure

_LACKS_NAME: Final = re.compile(r"(kiro-auth accounts (?:show|verify))$")


def described(account: Account) -> dict[str, Any]:
    """One account for programs; times are ISO 8601 in UTC."""
    from kiro_auth.accounts import health

    now = time.time()
    state = health.effective(account, now)
    stated = _stated(account, now)
    return {
        "id": account.id,
        "name": account.name,
        "kind": account.kind,
        "email": masked(account.real_email or account.email) or None,
        "plan": account.extra.get("plan"),
        "startUrl": account.sso_start_url,
        "signInRegion": account.region,
        "serviceRegion": account.service_region,
        "profileArn": account.profile_arn,
        "profileName": account.profile_name,
        "proxy": account.proxy and re.sub(r"//[^/@]*@", "//…@", account.proxy),
        "state": state,
        "stateCode": stated.code if stated else None,
        # A state whose time has passed is over, and its reason with it.
        "stateReason": account.state_reason if state == account.state else None,
        "stateUntil": iso_time(account.state_until) if state != "ready" else None,
        "nextStep": _next_step(account, stated),
        "tokenExpires": iso_time(account.expires_at),
        "signInExpires": iso_time(account.client_secret_expires_at),
    }


def print_accounts(found: list[Account]) -> None:
    """The accounts as a table and what there is to say of each below it, or how to get one."""
    from kiro_auth.accounts.health import effective

    if not found:
        typer.echo(NO_ACCOUNT)
        return
    now = time.time()
    rows = [
        (a.name, KINDS[a.kind].words, a.service_region, effective(a, now), masked(a.real_email or a.email))
        for a in found
    ]
    print_table(("name", "kind", "region", "state", "e-mail"), rows)
    remarks = [line for account in found for line in _remarks(account, now)]
    if remarks:
        typer.echo("\n" + "\n".join(remarks))


def sentence_of(failure: Failure, account: Account) -> str:
    """What a person reads of a failure of this account, its name put in where a remedy lacks it."""
    from msgspec.structs import replace

    return replace(failure, next_step=_named(failure.next_step, account)).sentence()


def enabling(account: Account) -> str:
    """The command that lets a disabled account take requests again."""
    return f"kiro-auth accounts enable {shlex.quote(account.name)}"


def _remarks(account: Account, now: float) -> Iterable[str]:
    """Why the account is as it is, and, on a line of its own that can be copied, what to do."""
    from msgspec.structs import replace

    from kiro_auth.accounts import health

    stated = _stated(account, now)
    if stated:
        yield f"{account.name}: {replace(stated, next_step=None).sentence()}"
    elif account.state_reason and account.state == health.effective(account, now):
        yield f"{account.name}: {account.state_reason}"
    if step := _next_step(account, stated):
        yield f"  {step}"


def _stated(account: Account, now: float) -> Failure | None:
    """The failure behind the account's state; None when it is ready, or disabled by its owner."""
    from kiro_auth.accounts import health

    stated = health.effective(account, now) in health.STATE_AFTER.values()
    return health.failure_of(account, now) if stated else None


def _next_step(account: Account, stated: Failure | None) -> str | None:
    if stated:
        return _named(stated.next_step, account)
    return enabling(account) if account.state == "disabled" else None


def _named(step: str | None, account: Account) -> str | None:
    if step is None:
        return None
    name = shlex.quote(account.name)
    step = step.replace("kiro-auth accounts set NAME", f"kiro-auth accounts set {name}")
    return _LACKS_NAME.sub(lambda found: f"{found[1]} {name}", step)
