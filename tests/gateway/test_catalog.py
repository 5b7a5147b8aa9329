"""The lists of models: asked for when only they can say what a name means."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.surfaces.surface import ModelCard
from support.turns import turn_ended


class Service:
    """Answers when it is `free`, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.free = asyncio.Event()

    async def list_models(self, _: Credentials) -> dict[str, Any]:
        self.asked += 1
        await self.free.wait()
        return {"models": [{"modelId": "new-9.1"}]}


def catalog_of(service: Service, listed: list[tuple[Sequence[ModelCard], bool]]) -> Catalog:
    accounts = [Account(id="a"), Account(id="b")]
    return Catalog(cast("KiroClient", service), lambda *news: listed.append(news), lambda: accounts)


async def test_a_client_that_leaves_does_not_stand_for_an_answer() -> None:
    service = Service()
    catalog = catalog_of(service, [])
    left = asyncio.create_task(catalog.wanted("new-9-1-thinking").choice(Account(id="a")))
    await asyncio.sleep(0.05)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    service.free.set()

    choice = await catalog.wanted("new-9-1-thinking").choice(Account(id="a"))

    assert service.asked == 2
    assert choice.model.id == "new-9.1"


async def test_one_account_s_silence_holds_up_no_other_and_requests_together_ask_once() -> None:
    service = Service()
    catalog = catalog_of(service, [])
    looking = [asyncio.create_task(catalog.wanted("new-9-1").choice(Account(id=id_))) for id_ in "aaabbb"]
    await asyncio.sleep(0.05)
    assert service.asked == 2
    service.free.set()
    await asyncio.gather(*looking)
    assert service.asked == 2


async def test_a_list_that_lacks_an_account_s_is_not_told_as_complete() -> None:
    service, listed = Service(), list[tuple[Sequence[ModelCard], bool]]()
    service.free.set()
    catalog = catalog_of(service, listed)
    await catalog.look_up(Account(id="a"))
    await catalog.look_up(Account(id="b"))

    assert [([card.id for card in cards], complete) for cards, complete in listed] == [
        (["new-9-1"], False),
        (["new-9-1"], True),
    ]
    assert "a" not in catalog.wanted("new-9-1").lacking()
    assert "a" in catalog.wanted("claude-opus-4-6").lacking()
    assert "c" not in catalog.wanted("claude-opus-4-6").lacking()


async def test_a_turn_has_the_list_of_its_account_read_unless_that_is_known() -> None:
    service = Service()
    service.free.set()
    catalog = catalog_of(service, [])
    catalog.on_turn_ended(turn_ended(None))
    catalog.on_turn_ended(turn_ended("removed"))
    await asyncio.sleep(0)
    assert service.asked == 0

    for _ in range(2):
        catalog.on_turn_ended(turn_ended("a"))
        await asyncio.sleep(0.01)

    assert service.asked == 1
    assert "a" in catalog.lists()


async def test_a_name_is_made_out_once_for_each_account(monkeypatch: pytest.MonkeyPatch) -> None:
    service, resolved = Service(), list[str]()
    service.free.set()
    catalog = catalog_of(service, [])
    await catalog.refresh([Account(id="a"), Account(id="b")])
    resolve = models.resolve

    def counted(name: str, listed: Any) -> Any:
        resolved.append(name)
        return resolve(name, listed)

    monkeypatch.setattr(models, "resolve", counted)

    wanted = catalog.wanted("new-9-1-thinking")
    for id_ in "abab":
        wanted.lacking()
        await wanted.choice(Account(id=id_))

    assert resolved == ["new-9-1-thinking"] * 2
