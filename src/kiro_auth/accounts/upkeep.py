"""Tokens renewed in the background, so that a request seldom waits for it.

Kept fresh are the accounts that served lately, and those whose plan is used up: they come back by themselves.
Suspended accounts, those that need a sign-in, and those switched off are let be.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.health import effective
from kiro_auth.accounts.pool import Pool
from kiro_auth.events import TurnEnded
from kiro_auth.failures import Failure, KiroAuthError

log = logging.getLogger("kiro_auth.upkeep")

IN_USE_SECONDS: Final = 3600.0
"""How long after its last turn an account is kept fresh."""
LOOK_SECONDS: Final = 30.0
"""Between two looks; the margin of `token_expiry_buffer_ms` is never shorter."""


class Upkeep:
    """Looks after the accounts of one pool while its gateway runs; `on_problem` hears what people must do."""

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], float],
        on_problem: Callable[[Failure], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._on_problem = on_problem
        self._sleep = sleep
        self._monotonic = monotonic
        self._last_turn: dict[str, float] = {}  # by account id, monotonic

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Note when the account that answered was in use."""
        if turn.served is not None:
            self._last_turn[turn.served.account] = self._monotonic()

    async def run(self) -> None:
        """Mend what killed processes left, then look, again and again, until cancelled."""
        await self._try(self._pool.recover)
        while True:
            await self._sleep(LOOK_SECONDS)
            await self._try(self._save)
            await self._try(self.look)

    async def _save(self) -> None:
        if failure := await self._pool.save():
            log.warning("%s", failure.sentence())
            self._on_problem(failure)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except KiroAuthError as error:
            log.info("nothing is renewed: %s", error.failure.code)
        except Exception:  # the next look may be better, and requests renew for themselves
            log.exception("nothing is renewed, by a defect of this program")

    async def look(self) -> None:
        """Renew what is due."""
        try:
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            log.info("nothing is renewed: %s", error.failure.code)
            return
        for account in accounts:
            if self._is_kept(account):
                try:
                    await self._pool.fresh(account)
                except KiroAuthError as error:
                    log.info("%s is not renewed: %s", account.name, error.failure.code)

    def _is_kept(self, account: Account) -> bool:
        if account.state == "quota":
            return True
        in_use = self._monotonic() - self._last_turn.get(account.id, float("-inf")) < IN_USE_SECONDS
        return in_use and effective(account, self._clock()) in ("ready", "cooling")
