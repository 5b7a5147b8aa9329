"""How much of its plan each account has used: read from the service, kept beside the accounts.

A usage call that fails changes nothing: it is neither the chat's business nor the account's fault.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from kiro_auth.accounts.account import Account
from kiro_auth.config import Config
from kiro_auth.failures import KiroAuthError
from kiro_auth.store.store import Record, Store

log = logging.getLogger("kiro_auth.quota")

Fetch = Callable[[Account], Awaitable[Mapping[str, Any]]]
"""Ask the service for an account's usage.  Raises KiroAuthError."""

DERIVED: Final = "creditsSince"
"""The field for credits metered since the service last said what is used: our sum, not the service's."""

_PAUSE: Final = 60.0
"""Seconds between two readings of one account; in between, credits are added up here."""
_LOCK_SECONDS: Final = 5.0
_MILLISECONDS_FROM: Final = 1e11
"""Dates come in seconds or in milliseconds; as seconds this is the year 5138."""


class UsageSync:
    """Keeps the usage rows of one store up to date, in the background."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        fetch: Fetch,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._enabled = config.usage_tracking_enabled
        self._retries = config.usage_sync_max_retries
        self._fetch = fetch
        self._sleep = sleep
        self._clock = clock
        self._read_at: dict[str, float] = {}
        self._running: set[asyncio.Task[None]] = set()

    def used(self, account: Account, credits_: float | None) -> None:
        """A turn of this account ended; the service metered so many credits, if it said so."""
        if not self._enabled:
            return
        due = self._clock() - self._read_at.get(account.id, 0) >= _PAUSE
        if due:
            self._read_at[account.id] = self._clock()
        task = asyncio.create_task(self._settle(account, credits_ or 0.0, due))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _settle(self, account: Account, credits_: float, due: bool) -> None:
        if credits_:
            await asyncio.to_thread(self._count, account, credits_)
        if due:
            await self._read(account)

    def _count(self, account: Account, credits_: float) -> None:
        try:
            with self._store.lock("usage-count", timeout=_LOCK_SECONDS):
                row = self._store.usage().get(account.id, {})
                derived = (_number(row.get(DERIVED)) or 0.0) + credits_
                self._store.change_usage(account.id, {DERIVED: round(derived, 6)})
        except KiroAuthError as error:
            log.warning("the usage of %s is not kept: %s", account.name, error)

    async def _read(self, account: Account) -> None:
        for retry in range(self._retries + 1):
            try:
                row = usage_row(await self._fetch(account), self._clock())
                await asyncio.to_thread(self._store.change_usage, account.id, row)
            except KiroAuthError as error:
                log.info("the usage of %s cannot be read: %s", account.name, error.failure.code)
                if retry < self._retries:
                    await self._sleep(2.0**retry)
            else:
                return


def used_credits(row: Mapping[str, Any]) -> float | None:
    """What is used by now: the service's last figure, and what was metered since; None: nothing is known."""
    measured, derived = _number(row.get("usedCount")), _number(row.get(DERIVED))
    return None if measured is None and derived is None else (measured or 0.0) + (derived or 0.0)


def usage_row(answer: Mapping[str, Any], now: float) -> Record:
    """The row to keep of a GetUsageLimits answer: `usedCount` and `limitCount` with trial and bonuses in it.

    Figures with decimals count before rounded ones; rows of credits before those of other resources.  An
    answer without figures leaves those known before.  Times are epoch milliseconds; `now` is epoch seconds.
    """
    rows = _objects(answer.get("usageBreakdownList"))
    if not rows and isinstance(answer.get("usageBreakdown"), dict):
        rows = [answer["usageBreakdown"]]
    credit_rows = [row for row in rows if row.get("resourceType") == "CREDIT"]
    parts = [part for row in credit_rows or rows[:1] for part in _parts(row)]
    plan = answer.get("subscriptionInfo")
    reset = _number(answer.get("nextDateReset"))
    figures = {
        "usedCount": round(sum(_figure(part, "currentUsage") for part in parts), 6),
        "limitCount": round(sum(_figure(part, "usageLimit") for part in parts), 6),
    }
    return {
        **({**figures, DERIVED: None} if parts else {}),
        "lastSync": round(now * 1000),
        "resetAt": None if not reset else round(reset if reset > _MILLISECONDS_FROM else reset * 1000),
        "plan": plan.get("subscriptionTitle") if isinstance(plan, dict) else None,
    }


def _parts(row: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The plan itself, a running trial, and bonuses that are still good."""
    yield row
    trial = row.get("freeTrialInfo")
    if isinstance(trial, dict) and trial.get("freeTrialStatus") == "ACTIVE":
        yield trial
    yield from (bonus for bonus in _objects(row.get("bonuses")) if bonus.get("status") == "ACTIVE")


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _figure(part: Mapping[str, Any], name: str) -> float:
    precise = _number(part.get(f"{name}WithPrecision"))
    return precise if precise is not None else _number(part.get(name)) or 0.0


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
