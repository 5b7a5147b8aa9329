"""What commands that ask the service are made of: the user's store, a pool with fresh tokens, a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from kiro_auth import config as configuration
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.cli.store import file_store
from kiro_auth.config import Config
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.edge.clock import ServiceClock
from kiro_auth.kiro.edge.connections import open_session
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.login.renewal import renewal
from kiro_auth.store.protocol import Store

CLI_SECONDS = 30.0
"""The longest a person waits for one answer of the service."""


class Service(Struct, frozen=True):
    """The pieces, ready for use."""

    config: Config
    store: Store
    pool: Pool
    client: KiroClient
    clock: ServiceClock

    async def read_usage(self, account: Account) -> None:
        """Ask what an account has used, and keep it.  Raises TurnFailed, StoreFailed."""
        fresh = await self.pool.fresh(account)
        try:
            answer = await self.client.usage_limits(credentials_of(fresh))
        except TurnFailed as error:
            if error.failure.code != "KA-TOKEN":
                raise
            fresh = await self.pool.fresh(account, refused=fresh.access_token)
            answer = await self.client.usage_limits(credentials_of(fresh))
        await self.store.change_usage(account.id, usage_row(answer, self.clock.now()))


@asynccontextmanager
async def open_service(store: Store | None = None) -> AsyncIterator[Service]:
    """The pieces, for as long as the block lasts; `store` is the user's own, unless another is given."""
    config, store = configuration.load(), file_store() if store is None else store
    clock = ServiceClock()
    async with open_session(clock) as http:
        endpoints = Endpoints(config.endpoints)
        pool = Pool(store, config, refresh=renewal(http, endpoints, config, clock.now), clock=clock.now)
        client = KiroClient(http, endpoints, timeout=CLI_SECONDS)
        try:
            yield Service(config=config, store=store, pool=pool, client=client, clock=clock)
        finally:
            await pool.close()
