"""What GetUsageLimits says, as the row that is kept of an account.

`usedCount` and `limitCount` are the original plugin's fields: what may be used in all, a running trial and
bonuses that are still good included.  The rest is ours.  Times are epoch milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.json_values import as_number, as_object, as_objects
from kiro_auth.kiro import checked
from kiro_auth.store.protocol import DERIVED, Record

_MOST: Final = 50
"""Rows, and bonuses of a row, that are kept; nobody was seen with five."""


def used_credits(row: Mapping[str, Any]) -> float | None:
    """What is used by now: the service's last figure, and what was metered since; None: nothing is known."""
    measured, derived = as_number(row.get("usedCount")), as_number(row.get(DERIVED))
    return None if measured is None and derived is None else (measured or 0.0) + (derived or 0.0)


def share(row: Mapping[str, Any]) -> float:
    """Used part of the quota; 0 when nothing is known, so that new accounts are tried."""
    if not row:
        return 0.0
    used, limit = used_credits(row), as_number(row.get("limitCount"))
    if used is None or limit is None or limit <= 0:
        return 0.0
    return used / limit


def percent(share: float) -> str:
    """A share in whole per cent; 0 % and 100 % are said only where they are true."""
    if 0 < share < 0.01:
        return "<1%"
    return f"{math.floor(share * 100 + 1e-9) if share > 0.5 else round(share * 100)}%"


def used_up(row: Mapping[str, Any]) -> Failure | None:
    """What a row says of a plan of which nothing is left; None while something is, or nothing is known.

    Where use beyond the plan is allowed, that counts, and not the plan.
    """
    overage = as_object(row.get("overage"))
    if overage.get("enabled"):
        code, used, limit = "KA-OVERAGE", as_number(overage.get("used")), as_number(overage.get("limit"))
    else:
        code, used, limit = "KA-QUOTA", used_credits(row), as_number(row.get("limitCount"))
    if not used or not limit or used < limit:
        return None
    reset = as_number(row.get("resetAt"))
    return Failure(
        code=code,
        message=CATALOGUE[code].title,
        next_step=CATALOGUE[code].remedy,
        until=reset / 1000 if reset else None,
    )


def usage_row(answer: Mapping[str, Any], now: float) -> Record:
    """The row of an answer; `now` is epoch seconds.

    Figures with decimals count before rounded ones; rows of credits before those of other resources.  An
    answer without figures leaves those known before.
    """
    rows = as_objects(answer.get("usageBreakdownList"))[:_MOST]
    if not rows:
        rows = as_objects([answer.get("usageBreakdown")])
    credit_rows = [row for row in rows if row.get("resourceType") == "CREDIT"] or rows[:1]
    counted = [part for row in credit_rows for part in _parts(row, now)]
    figures = {
        "usedCount": round(sum(part["used"] for part in counted), 6),
        "limitCount": round(sum(part["limit"] for part in counted), 6),
        DERIVED: None,
    }
    return {
        **(figures if counted else {}),
        "lastSync": round(now * 1000),
        "resetAt": checked.milliseconds(answer.get("nextDateReset")),
        "plan": checked.text(as_object(answer.get("subscriptionInfo")).get("subscriptionTitle")),
        "parts": [part for row in rows for part in _parts(row, now)] or None,
        "overage": _overage(answer, credit_rows),
    }


def _parts(row: Mapping[str, Any], now: float) -> Iterator[dict[str, Any]]:
    """The plan itself, a running trial, and bonuses that are still good."""
    yield _part("plan", row, row, row.get("nextDateReset"))
    trial = as_object(row.get("freeTrialInfo"))
    if trial.get("freeTrialStatus") == "ACTIVE":
        yield _part("trial", row, trial, trial.get("freeTrialExpiry"))
    for bonus in as_objects(row.get("bonuses"))[:_MOST]:
        ends = checked.milliseconds(bonus.get("expiresAt"))
        if bonus.get("status") == "ACTIVE" and (ends is None or ends > now * 1000):
            yield _part("bonus", row, bonus, ends)


def _part(kind: str, row: Mapping[str, Any], part: Mapping[str, Any], ends: Any) -> dict[str, Any]:
    name = checked.text(part.get("displayName")) or checked.text(row.get("displayName"))
    made = {
        "kind": kind,
        "resource": checked.text(row.get("resourceType")),
        "name": name,
        "used": _figure(part, "currentUsage"),
        "limit": _figure(part, "usageLimit"),
        "endsAt": checked.milliseconds(ends),
    }
    return {field: value for field, value in made.items() if value is not None}


def _overage(answer: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Use beyond the plan: whether it is allowed, how much there was and may be, what it costs."""
    settings = as_object(answer.get("overageConfiguration"))
    row = rows[0] if rows else {}
    enabled = checked.code(settings.get("overageStatus")) in ("ENABLED", "OVERAGE_ENABLED")
    used = _figure(row, "currentOverages")
    if not enabled and not used:
        return None
    limit = checked.amount(settings.get("overageLimit"))
    charges = checked.amount(row.get("overageCharges"))
    fields = {
        "enabled": enabled,
        "used": used,
        "limit": _figure(row, "overageCap") or None if limit is None else limit,
        "charges": charges,
        "currency": checked.text(row.get("currency")) if charges else None,
    }
    return {field: value for field, value in fields.items() if value is not None}


def _figure(part: Mapping[str, Any], name: str) -> float:
    precise = checked.figure(part.get(f"{name}WithPrecision"))
    return precise if precise is not None else checked.figure(part.get(name)) or 0.0
