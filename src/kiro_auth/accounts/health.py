"""What is thought of an account: the table from failures to states, and the table of what ends a state.

Every change of a state is made here: other modules say what happened, and store the fields they get.

    ready ──throttled──▶ cooling ──its time passes──▶ ready
      ├──not entitled──▶ cooling
      ├──plan used up──▶ quota ────the reset passes──▶ ready
      ├──locked────────▶ suspended ──only `accounts verify`──▶ ready
      ├──sign-in ended─▶ sign-in ────only a new sign-in──────▶ ready
      └──by the user───▶ disabled ───only `accounts enable`──▶ ready

Only failures of the account stand in the table: a bad request, a full model or a broken line never change
what is thought of an account.
"""

from __future__ import annotations

import shlex
from typing import Final, Literal, TypeAlias, get_args

from kiro_auth.accounts.account import Account
from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.kinds import KINDS
from kiro_auth.store.protocol import Record

State: TypeAlias = Literal["ready", "cooling", "quota", "suspended", "sign-in", "disabled"]

STATE_AFTER: Final[dict[str, State]] = {
    "KA-THROTTLE": "cooling",
    "KA-ACTIVITY": "cooling",
    "KA-ENTITLEMENT": "cooling",
    "KA-PROFILE": "cooling",
    "KA-KMS": "cooling",
    "KA-QUOTA": "quota",
    "KA-OVERAGE": "quota",
    "KA-SUSPENDED": "suspended",
    "KA-SIGNIN": "sign-in",
    "KA-TOKEN": "sign-in",
}
"""The state that each failure of an account leads to."""

_USUAL: Final[dict[str, str]] = {
    "cooling": "KA-THROTTLE",
    "quota": "KA-QUOTA",
    "suspended": "KA-SUSPENDED",
    "sign-in": "KA-SIGNIN",
}
"""What a state means when the record does not say which failure led to it."""

FIRST_COOLING: Final = 8.0
LONGEST_COOLING: Final = 60.0
"""Seconds.  Throttles end by idling: one report measured that a request is throttled again in 47 % of cases
within a second, in 19 % after 5 to 8 seconds and in 1 % after two minutes.  A minute is the longest that
clients are told to wait."""
FIRST_REST: Final = 300.0
LONGEST_REST: Final = 3600.0
"""Seconds after which an account is asked again that was limited for unusual activity, doubled each time.
Choices of ours: users report that such a limit lasts a day and more, and that asking does not shorten it."""
_WITHIN_THE_HOUR: Final = 600.0
"""Seconds after which an account is asked again whose limit of the hour is used up; a choice of ours, as Kiro
does not say when its hour ends."""
_SECOND_LOOK: Final = 600.0
"""Seconds after which a plan, profile or key policy that refused is tried again, as people mend those; a
choice of ours."""
_DAY: Final = 86400
SWITCHED_OFF: Final = "switched off by you"
IN_A_ROW: Final = "stateInARow"
"""The field for how many failures of one kind in a row led to the state; all gateways count in it."""

READY: Final[Record] = {
    "state": "ready",
    "stateCode": None,
    "stateReason": None,
    "stateUntil": None,
    "stateUntilStated": None,
    IN_A_ROW: None,
    "isHealthy": True,
    "unhealthyReason": None,
    "recoveryTime": None,
    "rateLimitResetTime": 0,
}
"""The fields of an account that works; the last four are those by which the original knows it."""


Event: TypeAlias = Literal["answered", "renewed", "signed in", "verified", "enabled"]
"""What shows that an account works, or that its owner wants it to be used."""

_STATES: Final[frozenset[State]] = frozenset(get_args(State))
ENDED_BY: Final[dict[Event, frozenset[State]]] = {
    "answered": frozenset(("cooling", "quota")),
    "renewed": frozenset(("sign-in",)),
    "signed in": frozenset(("ready", "cooling", "quota", "sign-in")),
    "verified": frozenset(("ready", "cooling", "quota", "suspended", "sign-in")),
    "enabled": _STATES,
}
"""The states that each event ends; a state that is not in its row stays as it is."""


def effective(account: Account, now: float) -> str:
    """The state at this time (epoch seconds): what has passed is over."""
    if account.state in ("cooling", "quota") and (account.state_until or 0) <= now * 1000:
        return "ready"
    return account.state


def usable(account: Account, now: float) -> bool:
    """Whether the account may take a request at this time (epoch seconds)."""
    return account.state == "ready" or effective(account, now) == "ready"


def after(
    account: Account, failure: Failure, now: float, *, streak: int = 0, reset: float | None = None
) -> Record | None:
    """The fields to store after this failure; None when it changes nothing.

    `streak` counts the failures of its kind before it, `reset` is when the plan starts anew, if known (epoch
    seconds).  What only a person can end is not changed by a late answer to an earlier request.
    """
    state = STATE_AFTER.get(failure.code)
    if state is None or account.state in ("suspended", "sign-in", "disabled"):
        return None
    stated = _stated(failure, state, now, reset)
    until = _next_try(failure, state, now, streak) if stated is None else stated
    until_ms = None if until is None else round(until * 1000)
    return {
        "state": state,
        "stateCode": failure.code,
        "stateReason": failure.message,
        "stateSince": round(now * 1000),
        "stateUntil": until_ms,
        "stateUntilStated": stated is not None,
        IN_A_ROW: streak + 1,
        "isHealthy": state == "cooling",
        "unhealthyReason": None if state == "cooling" else failure.message,
        "recoveryTime": until_ms if state == "quota" else None,
        "rateLimitResetTime": until_ms if state == "cooling" else 0,
    }


def ready_after(event: Event, state: str | None, now: float, *, reason: str | None = None) -> Record | None:
    """The fields to store when this happened to an account of this stored state; None when the state stays.

    A state that this program does not know counts as `ready`.  `reason` is what there is to say of an account
    that is ready, but cannot be used yet; `now` is epoch seconds.
    """
    readable = state if state in _STATES else "ready"
    if readable not in ENDED_BY[event]:
        return None
    return {**READY, "stateReason": reason, "stateSince": round(now * 1000)}


def disabled(now: float) -> Record:
    """The fields of an account that its owner switched off.

    The original plugin takes no account that is not healthy and has no time of recovery.  It reads the file
    when it starts (read in its source, in the versions that keep this file; 2026-11-28).
    """
    return {
        **READY,
        "state": "disabled",
        "stateReason": SWITCHED_OFF,
        "stateSince": round(now * 1000),
        "isHealthy": False,
        "unhealthyReason": SWITCHED_OFF,
    }


def failure_of(account: Account, now: float) -> Failure:
    """Why an account that is not usable takes no requests, until when, and what to do."""
    ends = account.state_until / 1000 if account.state_until else None
    stated = account.state_until_stated is not False or account.state != "quota"
    code = account.state_code or ""
    if STATE_AFTER.get(code) != account.state:
        code = _USUAL.get(account.state, "KA-ACCOUNTS-BUSY")
    reason = account.state_reason or CATALOGUE[code].title
    if account.state not in _USUAL:
        why = f": {account.state_reason}" if account.state_reason else ""
        reason = f"The account is {account.state}{why}."
    return Failure(
        code=code,
        message=reason,
        next_step=next_step(account, code),
        until=ends if stated else None,
        next_try=None if stated else ends,
        noted_at=now,
        retry_after=ends - now if ends is not None and account.state == "cooling" else None,
        account=account.name,
    )


def next_step(account: Account, code: str) -> str:
    """What the owner of the account can do about this failure."""
    if STATE_AFTER.get(code) == "sign-in":
        return f"Sign in again: {sign_in_command(account)}"
    if account.state == "disabled":
        return f"Let it take requests again: {enabling(account)}"
    return CATALOGUE[code].remedy


def enabling(account: Account) -> str:
    """The command that lets a disabled account take requests again."""
    return f"kiro-auth accounts enable {shlex.quote(account.name)}"


def sign_in_command(account: Account) -> str:
    """What to type to sign this account in again."""
    return KINDS[account.kind].sign_in_command(account.sso_start_url, account.region)


def _stated(failure: Failure, state: State, now: float, reset: float | None) -> float | None:
    """When the service says that this ends; the reset of the plan ends no limit of an hour, day or week."""
    waits = now + failure.retry_after if failure.retry_after else None
    if state == "cooling":
        return waits if failure.code == "KA-THROTTLE" else None
    if state != "quota":
        return None
    ends = [failure.until, waits, reset if failure.period in (None, "month") else None]
    return min((moment for moment in ends if moment is not None and moment > now), default=None)


def _next_try(failure: Failure, state: State, now: float, streak: int) -> float | None:
    """When the account is asked again, as nobody says when this ends; None: only a person ends it."""
    if state == "quota":
        # That the service counts days in UTC is a guess: then it is asked again.
        return now + _WITHIN_THE_HOUR if failure.period == "hour" else (now // _DAY + 1) * _DAY
    if state != "cooling":
        return None
    if failure.code == "KA-THROTTLE":
        return now + min(FIRST_COOLING * 2.0 ** min(streak, 8), LONGEST_COOLING)
    if failure.code == "KA-ACTIVITY":
        rest = min(FIRST_REST * 2.0 ** min(streak, 8), LONGEST_REST)
        return now + max(rest, failure.retry_after or 0.0)
    return now + _SECOND_LOOK
