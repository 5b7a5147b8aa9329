"""The models there are: what each account's plan lists, with the built-in table until it was asked.

Nobody waits for the service's list for long.  Each account is asked by one task in the background, however
many want its list; the last list, which outlives the gateway, counts until a newer one is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.choice import ids
from kiro_auth.events import TurnEnded
from kiro_auth.failures import KiroAuthError, StoreFailed
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.gateway.model_lists import Lists, read_lists, write_lists
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.kiro.models import THINKING, Choice, Model, client_id
from kiro_auth.surfaces.surface import ModelCard

log = logging.getLogger("kiro_auth.catalog")

FRESH: Final = 3600.0
"""Seconds for which a list is taken as true; plans and models change rarely."""
AGAIN: Final = 60.0
"""Seconds for which an account whose list could not be had is not asked again."""
PATIENCE: Final = 1.2
"""Seconds that somebody who wants to see the list waits: Claude Code gives up after three."""

_NAMES: Final = 256
"""Names of models whose meaning is kept: clients send what they like."""

OnModelsListed: TypeAlias = Callable[[Sequence[ModelCard], bool], None]
"""Hears the models there are, and whether they are all of them."""


class Accounts(Protocol):
    """The accounts whose models are listed."""

    def accounts(self) -> Iterable[Account]:
        """All of them.  Raises StoreFailed."""

    def usable(self) -> Iterable[Account]:
        """Those that may take a request now.  Raises StoreFailed."""

    async def fresh(self, account: Account) -> Account:
        """The account with a token to use.  Raises KiroAuthError."""


class Catalog:
    """Model lists by account, kept in `file`; `aliases` are the user's own names for models.

    `on_listed` hears the union whenever a list was read anew, in the form for clients, and whether those of
    all usable accounts are in it: otherwise it misses what only another account has.
    """

    def __init__(
        self,
        client: KiroClient,
        on_listed: OnModelsListed,
        accounts: Accounts,
        *,
        file: Path | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._on_listed = on_listed
        self._accounts = accounts
        self._file = file
        self._aliases = _by_lower_names(aliases or {})
        self._lists = dict(read_lists(file)) if file else {}
        self._read_at: dict[str, float] = {}  # when this gateway read a list, by account (monotonic)
        self._asking: dict[str, asyncio.Task[None]] = {}
        # By a client's name and the number of a list, which is kept so that no other gets its number: what
        # the name means there.  And by the name: which accounts lack it.  Both until a list is read anew.
        self._made_out: dict[tuple[str, int], tuple[Sequence[Model], Choice]] = {}
        self._lacking: dict[str, frozenset[str]] = {}
        self._failed: dict[str, float] = {}  # when a list could not be had, by account (monotonic)

    def take_aliases(self, aliases: Mapping[str, str]) -> None:
        """The user has other names for models from now on."""
        self._aliases = _by_lower_names(aliases)
        self._made_out.clear()
        self._lacking.clear()

    def wanted(self, name: str) -> Wanted:
        """What a client's name for a model means for each account."""
        return Wanted(self, name)

    def resolve(self, name: str, listed: Sequence[Model] | None = None) -> Choice:
        """The model that a client's name means, of these or of all that are listed."""
        made_out = self._made_out.get((name, id(listed)))
        if made_out is not None:
            return made_out[1]
        meant = self._aliases.get(name.strip().lower(), name)
        choice = models.resolve(meant, self.models() if listed is None else listed)
        if listed is not None and len(self._made_out) < _NAMES:
            self._made_out[name, id(listed)] = listed, choice
        return choice

    def lacking(self, name: str) -> frozenset[str]:
        """The accounts, by their ids, whose list is known and has no model of this name."""
        lacking = self._lacking.get(name)
        if lacking is None:
            known = self._lists.items()
            lacking = ids(id_ for id_, listed in known if self.resolve(name, listed).model not in listed)
            if len(self._lacking) < _NAMES:
                self._lacking[name] = lacking
        return lacking

    def cards(self, only: Account | None = None) -> list[ModelCard]:
        """What clients are shown: the models, twins of those that can be asked to think, the user's names.

        Those of `only` one account, if the client asked for it.
        """
        listed = self.models(only)
        shown = {row.id: row for row in _with_twins(listed)}
        for alias in self._aliases:
            meant = self.resolve(alias, listed).model
            if meant in listed:
                shown[alias] = msgspec.structs.replace(card(meant), id=alias, default=False)
        return list(shown.values())

    def card(self, name: str, only: Account | None = None) -> ModelCard | None:
        """The model that a client's name means, as clients see it; None when it is not listed."""
        shown = {row.id: row for row in self.cards(only)}
        return shown.get(name) or shown.get(client_id(self.resolve(name, self.models(only)).model))

    def lists(self) -> Lists:
        """The models of each account, by its id, where they are known."""
        return self._lists

    def models(self, only: Account | None = None) -> tuple[Model, ...]:
        """Every model that some account lists, first seen first; until then the built-in table.

        Of `only` one account those of its list, once that is known.
        """
        if only is not None and (own := self._lists.get(only.id)):
            return own
        try:
            stored = {account.id for account in self._accounts.accounts()}
        except StoreFailed:
            stored = set(self._lists)
        lists = (listed for id_, listed in self._lists.items() if id_ in stored)
        return models.union(lists) or models.BUILTIN

    def is_fresh(self, account: Account) -> bool:
        """Whether the account's list was read lately, by this gateway."""
        return self._was_read_lately(account.id)

    def _was_read_lately(self, account_id: str) -> bool:
        read_at = self._read_at.get(account_id)
        return read_at is not None and time.monotonic() - read_at < FRESH

    async def renew(self, only: Account | None = None) -> None:
        """Ask for the lists that are missing or old, and wait for them, but not for long.

        What is not there then is asked for behind.  Raises StoreFailed.
        """
        usable = self._accounts.usable()
        if asking := self._ask(a for a in usable if only is None or a.id == only.id):
            await asyncio.wait(asking, timeout=PATIENCE)

    async def look_up(self, account: Account) -> None:
        """Have the account's list, unless it is fresh or could not be had just now."""
        if asking := self._ask([account]):
            await asyncio.wait(asking)

    def ask_later(self, accounts: Iterable[Account]) -> None:
        """Ask for the lists that are missing or old, off the path of any answer."""
        self._ask(accounts)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Ask for the models of the account that answered, when its list is missing or old."""
        if turn.served is None or self._was_read_lately(turn.served.account):
            return
        try:
            self.ask_later(a for a in self._accounts.usable() if a.id == turn.served.account)
        except StoreFailed as error:
            log.info("no models are listed: %s", error.failure.code)

    async def close(self) -> None:
        """End what runs in the background."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, accounts: Iterable[Account]) -> list[asyncio.Task[None]]:
        """The questions under way for these accounts, each begun if it is due."""
        wanted = list(accounts)
        for account in wanted:
            if account.id not in self._asking and self._is_due(account):
                task = asyncio.create_task(self._read(account))
                self._asking[account.id] = task
                task.add_done_callback(partial(self._asked, account.id))
        return [self._asking[account.id] for account in wanted if account.id in self._asking]

    def _asked(self, account_id: str, task: asyncio.Task[None]) -> None:
        self._asking.pop(account_id, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("a list of models failed by a defect of this program", exc_info=error)

    def _is_due(self, account: Account) -> bool:
        failed = self._failed.get(account.id)
        return not self.is_fresh(account) and (failed is None or time.monotonic() - failed >= AGAIN)

    async def _read(self, account: Account) -> None:
        """Read the account's list; one that cannot be had changes nothing."""
        try:
            fresh = await self._accounts.fresh(account)
            listed = models.parse(await self._client.list_models(credentials_of(fresh)))
        except KiroAuthError as error:
            log.info("the models of %s cannot be listed: %s", account.name, error.failure.code)
            listed = ()
        if not listed:
            self._failed[account.id] = time.monotonic()
            return
        self._failed.pop(account.id, None)
        self._made_out.clear()
        self._lacking.clear()
        self._lists[account.id], self._read_at[account.id] = listed, time.monotonic()
        self._announce()

    def _announce(self) -> None:
        try:
            stored = {account.id for account in self._accounts.accounts()}
            usable = {account.id for account in self._accounts.usable()}
        except StoreFailed as error:
            log.info("the models are told to nobody: %s", error.failure.code)
            return
        self._lists = {id_: listed for id_, listed in self._lists.items() if id_ in stored}
        self._lacking.clear()
        if self._file:
            write_lists(self._file, self._lists)
        self._on_listed([card(model) for model in self.models()], usable <= self._lists.keys())


class Wanted:
    """A client's name for a model, and what it means for each account."""

    __slots__ = ("_catalog", "_name")

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._name = name

    def lacking(self) -> frozenset[str]:
        """The accounts, by their ids, whose list is known and does not have the model."""
        return self._catalog.lacking(self._name)

    async def choice(self, account: Account) -> Choice:
        """The model for this account, after asking for the account's list if only that can say."""
        known = self.known_choice(account)
        if known is not None:
            return known
        await self._catalog.look_up(account)
        return self._catalog.resolve(self._name, self._listed_for(account))

    def known_choice(self, account: Account) -> Choice | None:
        """The model for this account; None when only the account's list can say."""
        listed = self._listed_for(account)
        choice = self._catalog.resolve(self._name, listed)
        is_known = self._catalog.is_fresh(account) or choice.model in (*listed, *models.BUILTIN)
        return choice if is_known else None

    def _listed_for(self, account: Account) -> tuple[Model, ...]:
        return self._catalog.lists().get(account.id) or self._catalog.models()

    async def is_listed(self, account: Account) -> bool:
        """Whether the account's list, asked for if need be, has the model."""
        await self._catalog.look_up(account)
        listed = self._catalog.lists().get(account.id, ())
        return self._catalog.resolve(self._name, listed).model in listed


def _by_lower_names(aliases: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): meant for name, meant in aliases.items()}


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
        rate=model.rate,
        default=model.default,
    )


def _with_twins(listed: Iterable[Model]) -> Iterator[ModelCard]:
    for model in listed:
        shown = card(model)
        yield shown
        if model.thinks and not model.id.endswith(THINKING):
            id_, name = shown.id + THINKING, f"{model.name} Thinking"
            yield msgspec.structs.replace(shown, id=id_, name=name, default=False)
