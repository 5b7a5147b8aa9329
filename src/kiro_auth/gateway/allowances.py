"""What the holder of a client key may do, held against each of its turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.events import Caller
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.key_spending import KeySpending
from kiro_auth.gateway.turn import Turn
from kiro_auth.keys import rules
from kiro_auth.keys.key import ClientKey
from kiro_auth.store.protocol import Places


class Allowances:
    """Over the keys of one gateway: in `places` the answers under way count, by `spending` the budgets."""

    def __init__(
        self,
        keys: ClientKeys,
        pool: Pool,
        places: Places,
        spending: KeySpending,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._pool = pool
        self._places = places
        self.spending = spending
        self._clock = clock

    def key_of(self, caller: Caller) -> ClientKey | None:
        """The key of somebody who was let in; None for the owner.

        Raises TurnFailed when the key is gone since it was let in.
        """
        if caller == OWNER:
            return None
        key = self._keys.key_of(caller)
        if key is None:
            raise TurnFailed(rules.gone(caller.name))
        return key

    async def begin(self, turn: Turn, key: ClientKey) -> None:
        """A turn with this key begins: it counts until `end`.

        Raises TurnFailed, with the rule that refuses it; StoreFailed when nobody can know.
        """
        if key.concurrency is not None:
            turn.has_place = await self._has_place(key.id, key.concurrency)
            if not turn.has_place:
                raise TurnFailed(rules.concurrency(key))
        if key.accounts and not self.accounts(key):
            raise TurnFailed(rules.accounts_gone(key))
        refusal = await self._over_budget(key)
        if refusal is not None:
            raise TurnFailed(refusal)

    async def begin_anew(self, turn: Turn) -> None:
        """A turn goes on that waited, perhaps for hours.

        Raises TurnFailed when it would not be let in any more; StoreFailed when nobody can know.
        """
        if turn.key is None:
            return
        turn.key = self._keys.still(turn.caller)
        refusal = await self._over_budget(turn.key)
        if refusal is not None:
            raise TurnFailed(refusal)

    def end(self, turn: Turn) -> None:
        """The turn has ended, however."""
        if turn.has_place:
            turn.has_place = False
            self._places.release(_place(turn.caller.id))

    async def under_way(self, caller: Caller) -> int:
        """How many answers to the holder of a key that has a limit of them are under way.

        Raises StoreFailed.
        """
        return await self._places.count(_place(caller.id))

    def accounts(self, key: ClientKey | None) -> Sequence[Account]:
        """The accounts that a key is for; None is the gateway's own.  Raises StoreFailed."""
        accounts = self._pool.accounts()
        if key is None or not key.accounts:
            return accounts
        return [account for account in accounts if account.id in key.accounts]

    async def _has_place(self, key_id: str, limit: int) -> bool:
        name = _place(key_id)
        if await self._places.take(name, limit):
            return True
        for pause in self._places.lags:
            await asyncio.sleep(pause)
            if await self._places.take(name, limit):
                return True
        return False

    async def _over_budget(self, key: ClientKey) -> Failure | None:
        if key.budget is None:
            return None
        spent = await self.spending.spent(key.id, key.budget.period)
        if spent < key.budget.credits:
            return None
        resets = self.spending.bounds(key.budget.period)[1]
        return rules.budget(key, key.budget, spent, self._clock(), resets)


def _place(key_id: str) -> str:
    return f"key:{key_id}"
