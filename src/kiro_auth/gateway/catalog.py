"""The models there are: what each account's plan lists, with the built-in table until it was asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from kiro_auth.accounts.account import Account
from kiro_auth.events import TurnEnded
from kiro_auth.failures import KiroAuthError, StoreFailed
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.models import Choice, Model, client_id
from kiro_auth.surfaces.surface import ModelCard

log = logging.getLogger("kiro_auth.catalog")

FRESH = 3600.0
"""Seconds for which a list is taken as true; plans and models change rarely."""
AGAIN = 60.0
"""Seconds after which a request asks again for a list that could not be had."""

OnModelsListed: TypeAlias = Callable[[Sequence[ModelCard], bool], None]
"""Hears the models there are, and whether they are all of them."""


class Catalog:
    """Model lists by account.

    `on_listed` hears the union whenever a list was read anew, in the form for clients, and whether those of
    all `usable` accounts are in it: otherwise it misses what only another account has.
    """

    def __init__(
        self,
        client: KiroClient,
        on_listed: OnModelsListed,
        usable: Callable[[], Iterable[Account]],
    ) -> None:
        self._client = client
        self._on_listed = on_listed
        self._usable = usable
        self._lists: dict[str, tuple[float, tuple[Model, ...]]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked: dict[str, float] = {}

    def wanted(self, name: str) -> Wanted:
        """What a client's name for a model means for each account."""
        return Wanted(self, name)

    def lists(self) -> Mapping[str, tuple[Model, ...]]:
        """The models of each account, by its id, where they are known."""
        return {account_id: listed for account_id, (_, listed) in self._lists.items()}

    def models(self) -> tuple[Model, ...]:
        """Every model that some account lists, first seen first; until then the built-in table."""
        union = {model.id: model for _, listed in self._lists.values() for model in listed}
        return tuple(union.values()) or models.BUILTIN

    async def look_up(self, account: Account) -> None:
        """Have the account's list, unless it could not be had just now."""
        async with self._asking[account.id]:  # requests that come together ask once
            asked = self._asked.get(account.id)
            if account.id in self._lists:
                return
            if asked is None or time.monotonic() - asked > AGAIN:
                await self.refresh([account])
                self._asked[account.id] = time.monotonic()

    async def refresh(self, accounts: Iterable[Account]) -> None:
        """Ask for the lists that are missing or old.  A list that cannot be had changes nothing."""
        stale = [account for account in accounts if not self._is_fresh(account)]
        renewed = await asyncio.gather(*map(self._ask, stale))
        if any(renewed):
            complete = all(account.id in self._lists for account in self._usable())
            self._on_listed([card(model) for model in self.models()], complete)

    async def _ask(self, account: Account) -> bool:
        """Whether the account's list was read anew."""
        try:
            listed = models.parse(await self._client.list_models(credentials_of(account)))
        except KiroAuthError as error:
            log.info("the models of %s cannot be listed: %s", account.name, error.failure.code)
            return False
        if listed:
            self._lists[account.id] = (time.monotonic(), listed)
        return bool(listed)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Ask for the models of the account that answered, when its list is missing or old."""
        if turn.served is None:
            return
        try:
            self.refresh_later(a for a in self._usable() if a.id == turn.served.account)
        except StoreFailed as error:
            log.info("no models are listed: %s", error.failure.code)

    def refresh_later(self, accounts: Iterable[Account]) -> None:
        """Do the same in the background, off the path of any answer."""
        stale = [account for account in accounts if not self._is_fresh(account)]
        if stale and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self.refresh(stale))

    async def close(self) -> None:
        """End what runs in the background."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    def _is_fresh(self, account: Account) -> bool:
        read_at, _ = self._lists.get(account.id, (None, ()))
        return read_at is not None and time.monotonic() - read_at < FRESH


class Wanted:
    """A client's name for a model, and what it means for each account; made out once for each."""

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._name = name
        self._choices: dict[str, Choice] = {}  # by account id

    def lacking(self) -> frozenset[str]:
        """The accounts, by their ids, whose list is known and does not have the model."""
        lists = self._catalog.lists()
        return frozenset(id_ for id_, listed in lists.items() if self._of(id_, listed).model not in listed)

    async def choice(self, account: Account) -> Choice:
        """The model for this account, after asking for the account's list if only that can say."""
        if account.id not in self._catalog.lists() and not models.is_builtin(self._name):
            await self._catalog.look_up(account)
        return self._of(account.id, self._catalog.lists().get(account.id) or self._catalog.models())

    async def is_listed(self, account: Account) -> bool:
        """Whether the account's list, asked for if need be, has the model."""
        await self._catalog.look_up(account)
        listed = self._catalog.lists().get(account.id, ())
        # Not by `_of`, which keeps what was made out before the list was there.
        return models.resolve(self._name, listed).model in listed

    def _of(self, account_id: str, listed: tuple[Model, ...]) -> Choice:
        choice = self._choices.get(account_id)
        if choice is None:
            choice = self._choices[account_id] = models.resolve(self._name, listed)
        return choice


def card(model: Model) -> ModelCard:
    """A model as clients see it."""
    return ModelCard(
        id=client_id(model),
        name=model.name,
        context_window=model.context_window,
        max_output=model.max_output,
        inputs=model.inputs,
        thinks=model.thinks,
        efforts=model.efforts,
    )
