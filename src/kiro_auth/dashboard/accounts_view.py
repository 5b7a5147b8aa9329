"""What the dashboard shows of accounts: the state in words, what is used of the plan, what can be done."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.usage_row import percent, used_credits
from kiro_auth.accounts.view import facts, state_words
from kiro_auth.dashboard.words import credits_in_words, line
from kiro_auth.json_values import as_number, as_objects
from kiro_auth.kinds import KINDS
from kiro_auth.ledger.forecast import Pace, forecast
from kiro_auth.times import when

TONES: Final[Mapping[str, str]] = {
    "ready": "good",
    "throttled": "wait",
    "paused": "wait",
    "out of credits": "wait",
    "suspended": "bad",
    "signed out": "bad",
    "disabled": "off",
}
"""How a state looks, by its words; the words are always beside."""
_BY_CODE: Final = ("builder-id", "idc")
"""Kinds that sign in with a code, which any browser can confirm."""
_QUOTAS: Final[Mapping[str, str]] = {"plan": "Plan", "trial": "Free trial", "bonus": "Bonus"}


class Quota(Struct, frozen=True):
    """One bar: `used` and `limit` in words, how much that is in per cent (0 to 100), when it ends."""

    name: str
    used: str
    limit: str
    share: float | None
    percent: str
    ends: str


class AccountCard(Struct, frozen=True):
    """One account.  `why` and `next_step` are empty where all is well."""

    id: str
    name: str
    kind: str
    plan: str
    state: str
    tone: str
    why: str
    next_step: str
    quotas: tuple[Quota, ...]
    pace: str
    last_turn: str
    actions: tuple[tuple[str, str], ...]
    """Each with its words; the first is what helps most."""


def account_card(
    account: Account, row: Mapping[str, Any], now: float, *, pace: Pace | None = None
) -> AccountCard:
    """What to show of an account; `row` is that of its usage, `now` is epoch seconds.

    `pace` is what it spent lately, as the ledger knows it.
    """
    known = {what: line(str(text)) for what, text in facts(account, now)}
    words = state_words(account, now)
    last = as_number(row.get("lastTurnCredits"))
    return AccountCard(
        id=account.id,
        name=line(account.name),
        kind=KINDS[account.kind].words,
        plan=line(str(row.get("plan") or known.get("plan") or "")),
        state=words,
        tone=TONES.get(words, "wait"),
        why=known.get("why", "") if words != "disabled" else "Switched off by you. It takes no requests.",
        next_step=known.get("what to do", ""),
        quotas=tuple(_quotas(row, now)),
        pace=_paced(pace, row, now),
        last_turn="" if last is None else f"The last turn took {credits_in_words(last)}.",
        actions=tuple(_actions(account, words)),
    )


def _actions(account: Account, words: str) -> Iterator[tuple[str, str]]:
    if words == "signed out" and account.kind in _BY_CODE:
        yield "sign-in", "Sign in again"
    if words == "disabled":
        yield "enable", "Enable"
        return
    yield "verify", "Verify"
    yield "disable", "Disable"


def _paced(pace: Pace | None, row: Mapping[str, Any], now: float) -> str:
    """How long the plan lasts at the person's own pace; empty where too little is known, or nothing left."""
    used, limit, reset = used_credits(row), as_number(row.get("limitCount")), as_number(row.get("resetAt"))
    left = None if used is None or limit is None else limit - used
    found = forecast(pace, left, reset / 1000 if reset else None, now) if left and left > 0 else None
    if found is None:
        return ""
    ends = f"it is used up {when(found.ends, now)}" if found.ends else "it lasts until it resets"
    return f"At your pace, {found.per_day:,.1f} a day, {ends}."


def _quotas(row: Mapping[str, Any], now: float) -> Iterator[Quota]:
    """The whole plan, and below it its parts where there are several; use beyond the plan."""
    used, limit, reset = used_credits(row), as_number(row.get("limitCount")), as_number(row.get("resetAt"))
    parts = [part for part in as_objects(row.get("parts")) if part.get("resource") in (None, "CREDIT")]
    if used is not None or limit is not None:
        name = _name(parts[0]) if len(parts) == 1 else "Together" if parts else "Plan"
        ends = as_number(parts[0].get("endsAt")) if len(parts) == 1 else None
        yield _quota(name, used, limit, ends or reset, now)
    if len(parts) > 1:
        for part in parts:
            ends = as_number(part.get("endsAt"))
            yield _quota(_name(part), as_number(part.get("used")), as_number(part.get("limit")), ends, now)
    overage = row.get("overage")
    if isinstance(overage, dict) and as_number(overage.get("used")) is not None:
        beyond = as_number(overage.get("used")), as_number(overage.get("limit"))
        yield _quota("Beyond the plan", *beyond, None, now)


def _quota(name: str, used: float | None, limit: float | None, ends: float | None, now: float) -> Quota:
    share = None if used is None or not limit else used / limit
    verb = "ends" if name in (_QUOTAS["trial"], _QUOTAS["bonus"]) else "resets"
    return Quota(
        name=name,
        used="?" if used is None else f"{used:,.2f}",
        limit="" if limit is None else f"{limit:,.0f}",
        share=None if share is None else round(min(share, 1.0) * 100, 2),
        percent="" if share is None else percent(share),
        ends="" if ends is None else f"{verb} {when(ends / 1000, now)}",
    )


def _name(part: Mapping[str, Any]) -> str:
    return _QUOTAS.get(str(part.get("kind")), line(str(part.get("name") or part.get("kind") or "Plan")))


class Summary(Struct, frozen=True):
    """What a person wants to know first: whether it works, how much is left, until when."""

    tone: str
    headline: str
    left: str
    limit: str
    share: float | None
    resets: str


def summary(
    cards: Sequence[AccountCard],
    accounts: Sequence[Account],
    rows: Mapping[str, Any],
    now: float,
    *,
    unreadable: int = 0,
) -> Summary:
    """All accounts together; disabled ones count for nothing.  `unreadable` is how many there are besides."""
    pairs = zip(cards, accounts, strict=True)
    enabled = [(card, rows.get(account.id, {})) for card, account in pairs if card.tone != "off"]
    known = [(used_credits(row), as_number(row.get("limitCount")), row) for _, row in enabled]
    plans = [(used, limit, row) for used, limit, row in known if used is not None and limit]
    total = sum(limit for _, limit, _ in plans)
    left = sum(max(0.0, limit - used) for used, limit, _ in plans)
    resets = [reset for _, _, row in plans if (reset := as_number(row.get("resetAt")))]
    tone, headline = _headline([card for card, _ in enabled], len(cards), unreadable)
    return Summary(
        tone=tone,
        headline=headline,
        left=_left(left) if plans else "?",
        limit=f"{total:,.0f}" if plans else "",
        share=round(left / total * 100, 2) if total else None,
        resets=when(min(resets) / 1000, now) if resets else "",
    )


def _left(amount: float) -> str:
    """Never more than there is: 999.77 of 1,000 are not 1,000."""
    return f"{math.floor(amount * 100 + 1e-6) / 100:,.2f}".removesuffix(".00")


def _headline(enabled: Sequence[AccountCard], count: int, unreadable: int) -> tuple[str, str]:
    ready = sum(card.tone == "good" for card in enabled)
    if not count:
        return "bad", "No account can be read" if unreadable else "No account is signed in"
    if not enabled:
        return "off", "Every account is disabled"
    if ready == len(enabled) and not unreadable:
        return "good", "Everything works"
    if ready:
        return "wait", f"Works, with {ready} of {len(enabled) + unreadable} accounts"
    only = enabled[0]
    if len(enabled) == 1:
        return only.tone, f"{only.name} is {only.state}"
    return "bad" if all(card.tone == "bad" for card in enabled) else "wait", "No account can work now"
