"""What is thought of an account: one table from failures to states, and when a state ends.

    ready ──throttled──▶ cooling ──its time passes──▶ ready
      ├──plan used up──▶ quota ────the reset passes──▶ ready
      ├──not entitled──▶ cooling
      ├──locked────────▶ suspended ──only `accounts verify`──▶ ready
      ├──sign-in ended─▶ sign-in ──only a new sign-in──▶ ready
      └──by the user───▶ disabled ──only `accounts enable`──▶ ready

Only failures of the account stand in the table: a bad request, a full model or a broken line never change
what is thought of an account.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from kiro_auth.accounts.account import Account
from kiro_auth.failures import Failure
from kiro_auth.store.store import Record

State: TypeAlias = Literal["ready", "cooling", "quota", "suspended", "sign-in", "disabled"]

STATE_AFTER: Final[dict[str, State]] = {
    "KA-THROTTLE": "cooling",
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

FIRST_COOLING: Final = 8.0
LONGEST_COOLING: Final = 120.0
"""Seconds.  Throttles of the service end by idling; measured repeats are rare after two minutes."""
_SECOND_LOOK: Final = 600.0
"""Seconds after which a plan, profile or key policy that refused is tried again: people mend those."""
_DAY: Final = 86400


def usable(account: Account, now: float) -> bool:
    """Whether the account may take a request at this time (epoch seconds)."""
    if account.state in ("cooling", "quota"):
        return account.state_until is not None and account.state_until <= now * 1000
    return account.state not in ("suspended", "sign-in", "disabled")


def after(failure: Failure, now: float, *, streak: int = 0, reset: float | None = None) -> Record | None:
    """The fields to store after this failure; None when it says nothing about the account.

    `streak` counts the throttles before it, `reset` is when the plan starts anew, if known (epoch seconds).
    """
    state = STATE_AFTER.get(failure.code)
    if state is None:
        return None
    until = _until(failure, state, now, streak, reset)
    return {
        "state": state,
        "stateReason": failure.message,
        "stateSince": round(now * 1000),
        "stateUntil": None if until is None else round(until * 1000),
        "isHealthy": state == "cooling",
        "unhealthyReason": None if state == "cooling" else failure.message,
    }


READY: Final[Record] = {
    "state": "ready",
    "stateReason": None,
    "stateUntil": None,
    "isHealthy": True,
    "unhealthyReason": None,
}
"""The fields of an account that works."""


def _until(failure: Failure, state: State, now: float, streak: int, reset: float | None) -> float | None:
    if state == "cooling":
        if failure.code != "KA-THROTTLE":
            return now + _SECOND_LOOK
        return now + (failure.retry_after or min(FIRST_COOLING * 2**streak, LONGEST_COOLING))
    if state == "quota":
        known = [moment for moment in (failure.until, reset) if moment is not None and moment > now]
        # Unknown: the service counts days in UTC, so ask again when the next one begins.
        return min(known) if known else (now // _DAY + 1) * _DAY
    return None
