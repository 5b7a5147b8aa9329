"""What the holders of client keys spent: counted by this gateway alone, or by all that share a database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC
from typing import Protocol

from kiro_auth.events import Listener, TurnEnded, noted
from kiro_auth.failures import StoreFailed
from kiro_auth.gateway.guard import OWNER
from kiro_auth.keys.key import Period
from kiro_auth.keys.spending import Spending, bounds
from kiro_auth.ledger.protocol import Ledger, Sums

log = logging.getLogger("kiro_auth.allowances")


class KeySpending(Protocol):
    """Credits by key, in the day and the month that it is."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who are to hear of every turn."""

    async def spent(self, key_id: str, period: Period) -> float:
        """What the holder of a key spent in it so far.  Raises StoreFailed when nobody can know."""

    def bounds(self, period: Period) -> tuple[float, float]:
        """When it begins and ends (epoch seconds)."""

    async def close(self) -> None:
        """Let what is under way end."""


class OwnSpending:
    """See `KeySpending`: what this gateway counts itself, after what a ledger has, if there is one.

    Days are those of this machine's zone.
    """

    def __init__(self, ledger: Ledger | None, clock: Callable[[], float] = time.time) -> None:
        self._spending = Spending(clock)
        self._ledger = ledger
        self._clock = clock
        self._reading: asyncio.Task[None] | None = None

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """See `KeySpending.listeners`."""
        return (self,)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Count what it used."""
        metered = turn.usage.credits if turn.usage else None
        if metered is not None and turn.caller != OWNER:
            self._spending.add(turn.caller.id, metered)

    async def spent(self, key_id: str, period: Period) -> float:
        """See `KeySpending.spent`.  The ledger is read once, before the first answer."""
        if self._ledger is not None:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(self._ledger))
            await asyncio.shield(self._reading)
        return self._spending.spent(key_id, period)

    def bounds(self, period: Period) -> tuple[float, float]:
        """See `KeySpending.bounds`."""
        return bounds(period, self._clock())

    async def close(self) -> None:
        """See `KeySpending.close`."""
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self, ledger: Ledger) -> None:
        try:
            await asyncio.to_thread(self._spending.read, ledger)
        except StoreFailed as error:
            log.warning("budgets of keys begin at nothing: %s", error, extra=noted("budgets", state="unread"))


class SharedSpending:
    """See `KeySpending`: the sums of all gateways, asked for each time.  Days are those of UTC."""

    listeners = ()
    """The ledger counts."""

    def __init__(self, sums: Sums, clock: Callable[[], float] = time.time) -> None:
        self._sums = sums
        self._clock = clock

    async def spent(self, key_id: str, period: Period) -> float:
        """See `KeySpending.spent`."""
        return await self._sums.spent_since("key", key_id, self.bounds(period)[0])

    def bounds(self, period: Period) -> tuple[float, float]:
        """See `KeySpending.bounds`."""
        return bounds(period, self._clock(), UTC)

    async def close(self) -> None:
        """See `KeySpending.close`."""
