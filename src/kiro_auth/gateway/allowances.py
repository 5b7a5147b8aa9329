"""What the holder of a client key may do, held against each of its turns."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.events import Caller, TurnEnded, noted
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.gateway.guard import OWNER
from kiro_auth.gateway.turn import Turn
from kiro_auth.keys import rules
from kiro_auth.keys.key import ClientKey
from kiro_auth.keys.spending import Spending

log = logging.getLogger("kiro_auth.allowances")


class Allowances:
    """Over the keys of one gateway; a listener, which counts what turns used.

    `ledger` is the file that has what was spent before this gateway, None where none is kept.
    """

    def __init__(
        self, keys: ClientKeys, pool: Pool, ledger: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self.spending = Spending(clock)
        self._pool = pool
        self._ledger = ledger
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None
        self._under_way: dict[str, set[Turn]] = {}  # by the id of the key

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

    async def begin(self, turn: Turn) -> None:
        """A turn begins: it counts until `end`.  Raises TurnFailed, with the rule that refuses it."""
        key = self.key_of(turn.caller)
        if key is None:
            return
        turns = self._under_way.setdefault(key.id, set())
        if key.concurrency is not None and len(turns) >= key.concurrency:
            raise TurnFailed(rules.concurrency(key))
        turns.add(turn)
        turn.key = key
        if key.accounts and not self.accounts(key):
            raise TurnFailed(rules.accounts_gone(key))
        await self.read()
        refusal = self._over_budget(key)
        if refusal is not None:
            raise TurnFailed(refusal)

    def end(self, turn: Turn) -> None:
        """The turn has ended, however."""
        turns = self._under_way.get(turn.caller.id)
        if turns is not None:
            turns.discard(turn)
            if not turns:
                del self._under_way[turn.caller.id]

    def under_way(self, caller: Caller) -> int:
        """How many answers to the holder of a client key are under way."""
        return len(self._under_way.get(caller.id, ()))

    def accounts(self, key: ClientKey | None) -> Sequence[Account]:
        """The accounts that a key is for; None is the gateway's own.  Raises StoreFailed."""
        accounts = self._pool.accounts()
        if key is None or not key.accounts:
            return accounts
        return [account for account in accounts if account.id in key.accounts]

    async def read(self) -> None:
        """Have what was spent before this gateway, once."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.shield(self._reading)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Count what it used."""
        metered = turn.usage.credits if turn.usage else None
        if metered is not None and turn.caller != OWNER:
            self.spending.add(turn.caller.id, metered)

    async def close(self) -> None:
        """Let the reading end."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    def _over_budget(self, key: ClientKey) -> Failure | None:
        if key.budget is None:
            return None
        now = self._clock()
        spent = self.spending.spent(key.id, key.budget.period)
        if spent < key.budget.credits:
            return None
        resets = self.spending.bounds(key.budget.period, now)[1]
        return rules.budget(key, key.budget, spent, now, resets)

    async def _read(self) -> None:
        if self._ledger is None:
            return
        try:
            await asyncio.to_thread(self.spending.read, self._ledger)
        except StoreFailed as error:
            log.warning("budgets of keys begin at nothing: %s", error, extra=noted("budgets", state="unread"))
