"""What the holder of any key may see of itself, at `GET /kiro/me` and on the dashboard.

That is limits, usage, and the state of its accounts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.view import account_view
from kiro_auth.events import Caller
from kiro_auth.failures import Failure
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.key_spending import KeySpending
from kiro_auth.keys.key import ClientKey, Period
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import of_key
from kiro_auth.times import iso

PATH: Final = "/kiro/me"
_SHOWN: Final = ("id", "name", "kind", "state", "stateCode", "stateUntil")
"""Fields of an account that tell a key's holder what to expect of it, and nothing of its owner."""
_PERIODS: Final[dict[str, Period]] = {"today": "day", "month": "month"}


class Me:
    """The route; `ledger` has the turns, None where none is kept."""

    def __init__(
        self,
        keys: ClientKeys,
        allowances: Allowances,
        ledger: Ledger | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._allowances = allowances
        self._ledger = ledger
        self._clock = clock
        self._reading = asyncio.Lock()  # it may take long, and threads are few: renewals need some

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {f"GET {PATH}": Route(waiting=self._tell, for_clients=True)}

    def are_any(self) -> bool:
        """Whether there is any client key."""
        return self._keys.are_any()

    def admit(self, secret: str) -> Caller | Failure | None:
        """Whose client key it is, or why nobody comes in with it; None: it is none."""
        return self._keys.admit(secret)

    def named(self, name: str) -> Caller | Failure | None:
        """Whose client key has this name, or why nobody comes in with it; None: there is none."""
        return self._keys.named(name)

    async def view(self, caller: Caller) -> dict[str, Any]:
        """What the holder of a key may see.  Raises TurnFailed when the key lets nobody in; StoreFailed."""
        key = self._keys.still(caller) if caller != OWNER else None
        return {
            "id": caller.id,
            "name": caller.name,
            **await self._limits(caller, key),
            "usage": await self._usage(caller),
            "accounts": _states(self._allowances.accounts(key), self._clock()),
        }

    async def _tell(self, request: Request) -> Response:
        return Response(msgspec.json.encode(await self.view(request.caller)))

    async def _limits(self, caller: Caller, key: ClientKey | None) -> dict[str, Any]:
        if key is None:
            return {"expires": None, "models": None, "budget": None, "concurrency": None}
        running = await self._allowances.under_way(caller) if key.concurrency else 0
        return {
            "expires": iso(key.expires * 1000) if key.expires else None,
            "models": key.models or None,
            "budget": await _budget(key, self._allowances.spending),
            "concurrency": {"limit": key.concurrency, "running": running} if key.concurrency else None,
        }

    async def _usage(self, caller: Caller) -> dict[str, Any] | None:
        if self._ledger is None:
            return None
        used = {}
        for word, period in _PERIODS.items():
            since = self._allowances.spending.bounds(period)[0]
            async with self._reading:
                total = await asyncio.to_thread(of_key, self._ledger, caller.id, since)
            credits_ = round(total.credits, 6)
            used[word] = {"turns": total.turns, "credits": credits_, "failed": total.failed}
        return used


async def _budget(key: ClientKey, spending: KeySpending) -> dict[str, Any] | None:
    """The budget of a key for programs: what is spent of it, what is left, when it begins anew."""
    if key.budget is None:
        return None
    spent = await spending.spent(key.id, key.budget.period)
    return {
        "credits": key.budget.credits,
        "period": key.budget.period,
        "spent": spent,
        "left": max(0.0, round(key.budget.credits - spent, 6)),
        "resets": iso(spending.bounds(key.budget.period)[1] * 1000),
    }


def _states(accounts: Sequence[Account], now: float) -> list[dict[str, Any]]:
    views = (account_view(account, now) for account in accounts)
    return [{name: view[name] for name in _SHOWN if name in view} for view in views]
