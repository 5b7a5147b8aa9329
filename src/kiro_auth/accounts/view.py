"""One account as others see it: one shape for the commands' `--json` and the gateway's `/kiro/accounts`.

Secrets are left out, and an e-mail is shown as far as its owner recognises it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.names import masked
from kiro_auth.failures import Failure

_LACKS_NAME: Final = re.compile(r"(kiro-auth accounts (?:show|verify))$")


def account_view(account: Account, now: float) -> dict[str, Any]:
    """One account for programs, as docs/cli.md describes it; `now` is epoch seconds."""
    state = health.effective(account, now)
    stated = stated_failure(account, now)
    return {
        "id": account.id,
        "name": account.name,
        "kind": account.kind,
        "email": masked(account.known_email) or None,
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
        "stateUntilStated": account.state_until_stated if state != "ready" else None,
        "nextStep": _next_step(account, stated),
        "tokenExpires": iso_time(account.expires_at),
        "signInExpires": iso_time(account.client_secret_expires_at),
    }


def remarks(account: Account, now: float) -> Iterator[str]:
    """Why the account is as it is, and, on a line of its own that can be copied, what to do."""
    stated = stated_failure(account, now)
    if stated:
        yield f"{account.name}: {replace(stated, next_step=None).sentence()}"
    elif account.state_reason and account.state == health.effective(account, now):
        yield f"{account.name}: {account.state_reason}"
    if step := _next_step(account, stated):
        yield f"  {step}"


def sentence_of(failure: Failure, account: Account) -> str:
    """What a person reads of a failure of this account, its name put in where a remedy lacks it."""
    return replace(failure, next_step=_named(failure.next_step, account)).sentence()


def stated_failure(account: Account, now: float) -> Failure | None:
    """The failure behind the account's state; None when it is ready, or disabled by its owner."""
    stated = health.effective(account, now) in health.STATE_AFTER.values()
    return health.failure_of(account, now) if stated else None


def iso_time(milliseconds: float | None) -> str | None:
    """A stored time for programs: ISO 8601 in UTC, to the second; None for what is no time."""
    if not milliseconds:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # beyond the year 9999, or no number
        return None


def _next_step(account: Account, stated: Failure | None) -> str | None:
    if stated:
        return _named(stated.next_step, account)
    return health.enabling(account) if account.state == "disabled" else None


def _named(step: str | None, account: Account) -> str | None:
    if step is None:
        return None
    name = shlex.quote(account.name)
    step = step.replace("kiro-auth accounts set NAME", f"kiro-auth accounts set {name}")
    return _LACKS_NAME.sub(lambda found: f"{found[1]} {name}", step)
