"""`GET /kiro/me`: what the holder of any key may see of itself: limits, usage, the state of its accounts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.view import account_view
from kiro_auth.events import Caller
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.keys.key import ClientKey, Period
from kiro_auth.keys.spending import Spending
from kiro_auth.ledger.reading import totals
from kiro_auth.times import iso

PATH: Final = "/kiro/me"
_SHOWN: Final = ("id", "name", "kind", "state", "stateCode", "stateUntil")
"""Fields of an account that tell a key's holder what to expect of it, and nothing of its owner."""
_PERIODS: Final[dict[str, Period]] = {"today": "day", "month": "month"}


class Me:
    """The route; `ledger` is the file of turns, None where none is kept."""

    def __init__(
        self, allowances: Allowances, ledger: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._allowances = allowances
        self._ledger = ledger
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {f"GET {PATH}": Route(waiting=self._tell, for_clients=True)}

    async def _tell(self, request: Request) -> Response:
        caller = request.caller
        key = self._allowances.key_of(caller)
        await self._allowances.read()
        told = {
            "id": caller.id,
            "name": caller.name,
            **self._limits(caller, key),
            "usage": await self._usage(caller),
            "accounts": _states(self._allowances.accounts(key), self._clock()),
        }
        return Response(msgspec.json.encode(told))

    def _limits(self, caller: Caller, key: ClientKey | None) -> dict[str, Any]:
        if key is None:
            return {"expires": None, "models": None, "budget": None, "concurrency": None}
        running = self._allowances.under_way(caller)
        return {
            "expires": iso(key.expires * 1000) if key.expires else None,
            "models": key.models or None,
            "budget": budget_view(key, self._allowances.spending, self._clock()),
            "concurrency": {"limit": key.concurrency, "running": running} if key.concurrency else None,
        }

    async def _usage(self, caller: Caller) -> dict[str, Any] | None:
        if self._ledger is None:
            return None
        now = self._clock()
        return {
            word: await asyncio.to_thread(
                _used, self._ledger, caller, self._allowances.spending.bounds(period, now)[0]
            )
            for word, period in _PERIODS.items()
        }


def budget_view(key: ClientKey, spending: Spending, now: float) -> dict[str, Any] | None:
    """The budget of a key for programs: what is spent of it, what is left, when it begins anew."""
    if key.budget is None:
        return None
    spent = spending.spent(key.id, key.budget.period)
    resets = spending.bounds(key.budget.period, now)[1]
    return {
        "credits": key.budget.credits,
        "period": key.budget.period,
        "spent": spent,
        "left": max(0.0, round(key.budget.credits - spent, 6)),
        "resets": iso(resets * 1000),
    }


def _used(ledger: Path, caller: Caller, since: float) -> dict[str, Any]:
    for total in totals(ledger, by="key", since=since):
        if total.key == caller.id:
            return {"turns": total.turns, "credits": round(total.credits, 6), "failed": total.failed}
    return {"turns": 0, "credits": 0.0, "failed": 0}


def _states(accounts: Sequence[Account], now: float) -> list[dict[str, Any]]:
    views = (account_view(account, now) for account in accounts)
    return [{name: view[name] for name in _SHOWN if name in view} for view in views]
