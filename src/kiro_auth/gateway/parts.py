"""What it takes to ask the service, wired once for the gateway and for the commands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from kiro_auth import config as configuration
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.refresh import Refresh
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.config import Config
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.own_store import own_store
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.clock import ServiceClock
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.edge.trust import Trust
from kiro_auth.login.assignment import Assignments
from kiro_auth.login.profiles import identity_of
from kiro_auth.login.renewal import renewal
from kiro_auth.store.protocol import Store

if TYPE_CHECKING:
    from kiro_auth.login.device_flow import Choose, DeviceSignIn

COMMAND_SECONDS: Final = 30.0
"""The longest a person waits for the service at a command before it is given up."""


AT_ONCE: Final = 50
"""Accounts that the service is asked about at the same time."""
T = TypeVar("T")


async def of_each(accounts: Iterable[Account], ask: Callable[[Account], Awaitable[T]]) -> list[T]:
    """What is asked of each account, in their order; many at once, so that one without an answer holds up no
    other.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def asked(account: Account) -> T:
        async with places:
            return await ask(account)

    return await asyncio.gather(*map(asked, accounts))


class Parts(Struct, frozen=True, kw_only=True):
    """The accounts of a store with fresh tokens, and the client that asks the service with them.

    `other_lines` lead to hosts whose clocks say nothing of the service's.
    """

    config: Config
    store: Store
    clock: ServiceClock
    lines: Lines
    other_lines: Lines
    endpoints: Endpoints
    client: KiroClient
    pool: Pool
    assignments: Assignments

    async def usage_of(self, account: Account) -> dict[str, Any]:
        """What the service says an account has used; its token must be fresh.  Raises TurnFailed."""
        return await self.client.usage_limits(credentials_of(account))

    async def read_usage(self, account: Account) -> None:
        """Ask what an account has used, and keep it, and whose it is if that was not known.

        Raises TurnFailed, StoreFailed.
        """
        fresh = account
        try:
            fresh = await self.pool.fresh(account)
            answer = await self.usage_of(fresh)
        except TurnFailed as error:
            if error.failure.code != "KA-TOKEN":
                raise
            fresh = await self.pool.fresh(account, refused=fresh.access_token)
            answer = await self.usage_of(fresh)
        await self.store.change_usage(account.id, usage_row(answer, self.clock.now()))
        if account.known_email is None and (email := identity_of(answer).email):
            await self.store.change(account.id, {"email": email})

    def new_sign_in(self, choose: Choose | None = None) -> DeviceSignIn:
        """A sign-in that adds an account to the store; `choose` picks one of several profiles."""
        from kiro_auth.login.device_flow import DeviceSignIn  # few gateways sign anyone in

        return DeviceSignIn(self.lines, self.endpoints, self.store, self.config, choose=choose)


@asynccontextmanager
async def open_parts(
    config: Config,
    store: Store,
    *,
    patience: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
    around_refresh: Callable[[Refresh], Refresh] = lambda refresh: refresh,
    trust: Trust | None = None,
) -> AsyncIterator[Parts]:
    """The parts, for as long as the block lasts; renewals of tokens that are under way then are finished.

    `patience` is the longest silence of the service, in seconds.  `sleep` and `chance` (0 to 1) say how long
    the pauses between the attempts of a request are.  `around_refresh` may see each renewal of a token.
    `trust` is given where its certificates may be read already.
    """
    clock, trust = ServiceClock(), trust or Trust()
    async with Lines(trust, clock) as lines, Lines(trust) as other_lines:
        endpoints = Endpoints(config.endpoints, config.unknown_endpoints)
        refresh = around_refresh(renewal(lines, endpoints, config, clock.now))
        client = KiroClient(lines, endpoints, timeout=patience)
        assignments = Assignments(store, client, config, clock.now)
        pool = Pool(
            store,
            config,
            refresh=refresh,
            with_profile=assignments.with_profile,
            lacks_profile=assignments.is_open,
            fetch=lambda account: client.usage_limits(credentials_of(account)),
            sleep=sleep,
            clock=clock.now,
            chance=chance,
        )
        try:
            yield Parts(
                config=config,
                store=store,
                clock=clock,
                lines=lines,
                other_lines=other_lines,
                endpoints=endpoints,
                client=client,
                pool=pool,
                assignments=assignments,
            )
        finally:
            await pool.close()


def open_own_parts(store: Store | None = None) -> AbstractAsyncContextManager[Parts]:
    """As `open_parts`, for a command of a person, with their options; `store` is their own, unless given."""
    config = configuration.load()
    return open_parts(config, own_store(config) if store is None else store, patience=COMMAND_SECONDS)
