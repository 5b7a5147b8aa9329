"""The routes of `/v1/models`: what the holder of a key may use of what the catalog lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.gateway.allowances import Allowances
from kiro_auth.gateway.allowed_models import allows
from kiro_auth.gateway.answers import failure_response
from kiro_auth.gateway.bound import bound_to, saying_so
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.paths import plain
from kiro_auth.keys.key import ClientKey
from kiro_auth.kiro import models
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.model_list import encode_model, encode_models
from kiro_auth.surfaces.surface import ModelCard

_MODEL: Final = "/v1/models/"


class Listing:
    """See the module."""

    def __init__(self, catalog: Catalog, allowances: Allowances) -> None:
        self._catalog = catalog
        self._allowances = allowances

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {
            "GET /v1/models": Route(waiting=self._all, for_clients=True),
            f"GET {_MODEL}*": Route(waiting=self._one, for_clients=True),
        }

    async def _all(self, request: Request) -> Response:
        _, cards = await self._cards(request)
        return Response(encode_models(cards, codex="client_version" in request.query))

    async def _one(self, request: Request) -> Response:
        account, cards = await self._cards(request)
        name = plain(request.path).removeprefix(_MODEL)
        meant = self._catalog.card(name, account)
        if meant is None or meant not in cards:
            listed = [model for model in self._catalog.models(account) if allows(self._key(request), model)]
            return failure_response(anthropic, saying_so(models.unknown(name, listed), account))
        return Response(encode_model(meant))

    def _key(self, request: Request) -> ClientKey | None:
        return self._allowances.key_of(request.caller)

    async def _cards(self, request: Request) -> tuple[Account | None, Sequence[ModelCard]]:
        """The account that is asked for, and what is listed of it, or of all that the key is for."""
        key = self._key(request)
        account = bound_to(request.head, lambda: self._allowances.accounts(key), key)
        await self._catalog.renew(account)
        if key is None:
            return account, self._catalog.cards(account)
        of = [account] if account or not key.accounts else self._allowances.accounts(key)
        cards = {card.id: card for each in of for card in self._catalog.cards(each)}
        return account, [card for card in cards.values() if self._allows(key, card)]

    def _allows(self, key: ClientKey, card: ModelCard) -> bool:
        """By what its name means, as it may be one of the owner's own."""
        return allows(key, self._catalog.resolve(card.id).model)
