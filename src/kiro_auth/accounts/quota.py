"""How much of its plan each account has used: read from the service, kept beside the accounts.

A usage call that fails changes nothing: it is neither the chat's business nor the account's fault.

Credits of turns are gathered in memory and kept every two seconds, before each reading of the service, and at
the end; what cannot be kept is tried again.  A process that is killed loses the last of them, until the
service is read again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import readable
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.accounts.verdicts import Fetch
from kiro_auth.config import Config
from kiro_auth.events import Served, TurnEnded, noted
from kiro_auth.failures import KiroAuthError
from kiro_auth.store.protocol import Credits, Store

log = logging.getLogger("kiro_auth.quota")

_PAUSE: Final = 60.0
"""Seconds between two readings of one account; in between, credits are added up here."""
KEPT_SECONDS: Final = 2.0
"""The longest time that credits are in memory only."""


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
        self._config = config
        self._fetch = fetch
        self._on_usage_read = on_usage_read
        self._sleep = sleep
        self._clock = clock
        self._read_at: dict[str, float] = {}
        self._metered: dict[str, Credits] = {}  # not kept yet, by account id
        self._keeping = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None  # keeps what is in memory only
        self._fails = False
        self._running: set[asyncio.Task[None]] = set()

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Add what the service metered for the turn, and read what is used when that is due."""
        if not self._config.usage_tracking_enabled or turn.served is None:
            return
        account = turn.served.account
        due = self._clock() - self._read_at.get(account, 0) >= _PAUSE
        if due:
            self._read_at[account] = self._clock()
        if turn.usage and turn.usage.credits:
            before = self._metered.get(account)
            added = turn.usage.credits + (before.added if before else 0.0)
            self._metered[account] = Credits(added, last_turn=turn.usage.credits)
            if not due:
                self._keep_soon()
        if due:
            self._start(self._read_anew(turn.served))

    async def keep(self) -> None:
        """Have the store keep all credits that are in memory only."""
        async with self._keeping:
            metered, self._metered = self._metered, {}
            if not metered:
                return
            try:
                await self._store.add_credits(metered)
            except KiroAuthError as error:
                if not self._fails:
                    facts = noted("usage", state="not saved", failure=error.failure.code)
                    log.warning("the credits of the last turns cannot be saved yet: %s", error, extra=facts)
                self._fails = True
                self._put_back(metered)
                return
            if self._fails:
                log.info("the credits of the last turns are saved now", extra=noted("usage", state="saved"))
            self._fails = False

    def _put_back(self, metered: Mapping[str, Credits]) -> None:
        """Have it kept later, with what has come since."""
        for account, before in metered.items():
            since = self._metered.get(account)
            added = before.added + (since.added if since else 0.0)
            self._metered[account] = Credits(added, (since or before).last_turn)
        self._keep_soon()

    async def close(self) -> None:
        """Keep what is in memory only, and end what runs in the background."""
        await self.keep()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.keep()  # what a reading of the service has put back
        if self._later is not None:
            self._later.cancel()
        if lost := sum(each.added for each in self._metered.values()):
            log.warning(
                "%g credits of the last turns are not saved; Kiro's next figures have them",
                lost,
                extra=noted("usage", state="lost", credits=lost),
            )

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _keep_soon(self) -> None:
        if self._later is None or self._later.done():
            self._later = self._start(self._keep_later())

    async def _keep_later(self) -> None:
        while self._metered:
            await self._sleep(KEPT_SECONDS)
            await self.keep()

    async def _read_anew(self, served: Served) -> None:
        """Read what is used; that includes what was metered before, but not which turn was the last."""
        await self.keep()
        unsaved = self._metered.pop(served.account, None)
        is_read = False
        try:
            is_read = await self._read(served)
        finally:
            if unsaved is not None:
                added = 0.0 if is_read else unsaved.added
                self._put_back({served.account: Credits(added, unsaved.last_turn)})

    async def _read(self, served: Served) -> bool:
        """Whether the store has what the service says."""
        retries = self._config.usage_sync_max_retries
        for retry in range(retries + 1):
            try:
                account = self._account(served)
                if account is None:
                    return False
                row = usage_row(await self._fetch(account), self._clock())
                await self._store.change_usage(account.id, row)
                self._on_usage_read(account, row)
            except KiroAuthError as error:
                if error.failure.code == "KA-SUSPENDED":  # Kiro may name a form to fill in
                    log.warning("%s: %s", served.account_name, error.failure.sentence())
                log.info("the usage of %s cannot be read: %s", served.account_name, error.failure.code)
                if retry < retries:
                    await self._sleep(2.0**retry)
            else:
                return True
        return False

    def _account(self, served: Served) -> Account | None:
        """The account as it stands by now; None when it was removed meanwhile."""
        record = self._store.snapshot().record(served.account)
        accounts, _ = readable([record] if record else [])
        return accounts[0] if accounts else None
