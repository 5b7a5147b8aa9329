"""How much of its plan each account has used: read from the service, kept beside the accounts.

A usage call that fails changes nothing: it is neither the chat's business nor the account's fault.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kiro_auth.accounts.account import Account, account_of
from kiro_auth.accounts.usage_row import DERIVED, LAST_TURN, usage_row
from kiro_auth.config import Config
from kiro_auth.events import Served, TurnEnded
from kiro_auth.failures import KiroAuthError
from kiro_auth.json_values import as_number
from kiro_auth.store.store import Store

log = logging.getLogger("kiro_auth.quota")

Fetch = Callable[[Account], Awaitable[Mapping[str, Any]]]
"""Ask the service for an account's usage.  Raises KiroAuthError."""

_PAUSE: Final = 60.0
"""Seconds between two readings of one account; in between, credits are added up here."""
_LOCK_SECONDS: Final = 5.0


class UsageSync:
    """Keeps the usage rows of one store up to date, in the background; `on_usage_read` hears each new row."""

    def __init__(
        self,
        store: Store,
        config: Config,
        *,
        fetch: Fetch,
        on_usage_read: Callable[[Account, Mapping[str, Any]], None] = lambda *_: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._enabled = config.usage_tracking_enabled
        self._retries = config.usage_sync_max_retries
        self._fetch = fetch
        self._on_usage_read = on_usage_read
        self._sleep = sleep
        self._clock = clock
        self._read_at: dict[str, float] = {}
        self._running: set[asyncio.Task[None]] = set()

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Add what the service metered for the turn, and read what is used when that is due."""
        if not self._enabled or turn.served is None:
            return
        account = turn.served.account
        due = self._clock() - self._read_at.get(account, 0) >= _PAUSE
        if due:
            self._read_at[account] = self._clock()
        credits_ = turn.usage.credits if turn.usage else None
        task = asyncio.create_task(self._settle(turn.served, credits_ or 0.0, due))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _settle(self, served: Served, credits_: float, due: bool) -> None:
        if credits_:
            await asyncio.to_thread(self._count, served, credits_)
        if due:
            await self._read(served)

    def _count(self, served: Served, credits_: float) -> None:
        try:
            with self._store.lock("usage-count", timeout=_LOCK_SECONDS):
                row = self._store.usage().get(served.account, {})
                derived = (as_number(row.get(DERIVED)) or 0.0) + credits_
                fields = {DERIVED: round(derived, 6), LAST_TURN: round(credits_, 6)}
                self._store.change_usage(served.account, fields)
        except KiroAuthError as error:
            log.warning("the usage of %s is not kept: %s", served.account_name, error)

    async def _read(self, served: Served) -> None:
        for retry in range(self._retries + 1):
            try:
                account = self._account(served.account)
                if account is None:
                    return
                row = usage_row(await self._fetch(account), self._clock())
                await asyncio.to_thread(self._store.change_usage, account.id, row)
                self._on_usage_read(account, row)
            except KiroAuthError as error:
                log.info("the usage of %s cannot be read: %s", served.account_name, error.failure.code)
                if retry < self._retries:
                    await self._sleep(2.0**retry)
            else:
                return

    def _account(self, account_id: str) -> Account | None:
        """The account as it stands by now; None when it was removed meanwhile."""
        records = [record for record in self._store.accounts() if record.get("id") == account_id]
        return account_of(records[0]) if records else None
