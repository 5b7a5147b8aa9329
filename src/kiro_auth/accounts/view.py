"""One account as others see it: one shape for the commands' `--json` and the gateway's `/kiro/accounts`.

Secrets are left out, and an e-mail is shown as far as its owner recognises it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.names import masked
from kiro_auth.accounts.roster import Unreadable
from kiro_auth.failures import Failure
from kiro_auth.kinds import KINDS
from kiro_auth.texts import shown
from kiro_auth.times import iso, when

_LACKS_NAME: Final = r"(kiro-auth accounts (?:show|verify))$"


STATE_WORDS: Final[Mapping[str, str]] = {
    "ready": "ready",
    "cooling": "paused",
    "quota": "out of credits",
    "suspended": "suspended",
    "sign-in": "signed out",
    "disabled": "disabled",
}
"""What people read of each state; `throttled` is the rest that Kiro asks for, `paused` any other."""


def account_view(account: Account, now: float) -> dict[str, Any]:
    """One account for programs, as docs/cli.md describes it; `now` is epoch seconds."""
    state = health.effective(account, now)
    stated = stated_failure(account, now)
    view = {
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
        "proxy": _shown_proxy(account),
        "state": state,
        "stateCode": stated.code if stated else None,
        # A state whose time has passed is over, and its reason with it.
        "stateReason": account.state_reason if state == account.state else None,
        "stateUntil": iso(account.state_until) if state != "ready" else None,
        "stateUntilStated": account.state_until_stated if state != "ready" else None,
        "nextStep": _next_step(account, stated),
        "tokenExpires": iso(account.expires_at),
        "signInExpires": iso(account.client_secret_expires_at),
    }
    return {name: shown(value) if isinstance(value, str) else value for name, value in view.items()}


def unreadable_view(account: Unreadable) -> dict[str, Any]:
    """One account that cannot be read, for programs; its id is null where that cannot be read either."""
    failure = account.failure
    return {
        "id": account.name or None,
        "code": failure.code,
        "message": failure.message,
        "nextStep": failure.next_step,
    }


def state_words(account: Account, now: float) -> str:
    """The account's state in plain words, at this time (epoch seconds)."""
    stated = stated_failure(account, now)
    return words_after(stated.code if stated else None, health.effective(account, now))


def words_after(code: str | None, state: str) -> str:
    """A state in plain words; `code` is the failure that led to it."""
    return "throttled" if code == "KA-THROTTLE" else STATE_WORDS.get(state, state)


def facts(account: Account, now: float) -> Iterator[tuple[str, str]]:
    """Everything that is known of an account, for people: what it is, and in words."""
    stated = stated_failure(account, now)
    reason = account.state_reason if account.state == health.effective(account, now) else None
    if stated:
        reason = replace(stated, next_step=None).spoken(now)
    told = {
        "name": account.name,
        "e-mail": masked(account.real_email or account.email),
        "kind": KINDS[account.kind].words,
        "plan": account.extra.get("plan"),
        "state": state_words(account, now),
        "why": reason,
        "what to do": _next_step(account, stated),
        "start URL": account.sso_start_url,
        "signs in at": account.region,
        "served in": account.service_region,
        "profile": account.profile_name,
        "profile ARN": account.profile_arn,
        "proxy": _shown_proxy(account),
        "token": _ends("is renewed before", account.expires_at, now),
        "sign-in": _ends("ends", account.client_secret_expires_at, now),
        "id": account.id,
    }
    yield from ((what, shown(text)) for what, text in told.items() if text)


def _ends(words: str, milliseconds: float | None, now: float) -> str | None:
    return f"{words} {when(milliseconds / 1000, now)}" if milliseconds else None


def _shown_proxy(account: Account) -> str | None:
    return account.proxy and re.sub(r"//[^/@]*@", "//…@", account.proxy)


def remarks(account: Account, now: float) -> Iterator[str]:
    """Why the account is as it is, and, on a line of its own that can be copied, what to do."""
    stated = stated_failure(account, now)
    if stated:
        yield f"{account.name}: {replace(stated, next_step=None).spoken(now)}"
    elif account.state_reason and account.state == health.effective(account, now):
        yield f"{account.name}: {shown(account.state_reason)}"
    if step := _next_step(account, stated):
        yield f"  {step}"


def named(failure: Failure, account: Account) -> Failure:
    """A failure of this account, its name put in where a remedy lacks it."""
    return replace(failure, next_step=_named(failure.next_step, account))


def stated_failure(account: Account, now: float) -> Failure | None:
    """The failure behind the account's state; None when it is ready, or disabled by its owner."""
    stated = health.effective(account, now) in health.STATE_AFTER.values()
    return health.failure_of(account, now) if stated else None


def _next_step(account: Account, stated: Failure | None) -> str | None:
    if stated:
        return _named(stated.next_step, account)
    return health.enabling(account) if account.state == "disabled" else None


def _named(step: str | None, account: Account) -> str | None:
    if step is None:
        return None
    name = shlex.quote(account.name)
    step = step.replace("kiro-auth accounts set NAME", f"kiro-auth accounts set {name}")
    return re.sub(_LACKS_NAME, lambda found: f"{found[1]} {name}", step)
