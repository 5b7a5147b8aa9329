"""The lists of models: asked for when only they can say what a name means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.gateway import catalog as module
from kiro_auth.gateway.catalog import AGAIN, FRESH, PATIENCE, Catalog
from kiro_auth.gateway.model_lists import read_lists, write_lists
from kiro_auth.kiro import models
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.surfaces.surface import ModelCard
from support.turns import turn_ended

BUSY = 20.0
"""Seconds that a machine with much else to do may add: a service that is silent here is so without end."""


class Service:
    """Answers when it is `free`, with what is `wrong` if anything is; counts how often it was asked."""

    def __init__(self, *, free: bool = False) -> None:
        self.asked = 0
        self.free = asyncio.Event()
        self.wrong: Failure | None = None
        self.rows: list[dict[str, Any]] = [{"modelId": "new-9.1"}]
        if free:
            self.free.set()

    async def list_models(self, _: Credentials) -> dict[str, Any]:
        self.asked += 1
        await self.free.wait()
        if self.wrong:
            raise TurnFailed(self.wrong)
        return {"models": self.rows}


class Accounts:
    """Two of them, whose tokens are always fresh."""

    def __init__(self, ids: str = "ab") -> None:
        self.ids = ids

    def accounts(self) -> list[Account]:
        return [Account(id=id_) for id_ in self.ids]

    usable = accounts

    async def fresh(self, account: Account) -> Account:
        return account


def catalog_of(
    service: Service, listed: list[tuple[Sequence[ModelCard], bool]] | None = None, **more: Any
) -> Catalog:
    news = [] if listed is None else listed
    client = cast("KiroClient", service)
    return Catalog(client, lambda *told: news.append(told), more.pop("accounts", Accounts()), **more)


async def test_a_client_that_leaves_takes_no_answer_away_from_others() -> None:
    service = Service()
    catalog = catalog_of(service)
    left = asyncio.create_task(catalog.wanted("new-9-1-thinking").choice(Account(id="a")))
    await asyncio.sleep(0.05)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    service.free.set()

    choice = await catalog.wanted("new-9-1-thinking").choice(Account(id="a"))

    assert service.asked == 1
    assert choice.model.id == "new-9.1"


async def test_one_account_s_silence_holds_up_no_other_and_requests_together_ask_once() -> None:
    service = Service()
    catalog = catalog_of(service)
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
    catalog = catalog_of(service)
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
    catalog = catalog_of(service)
    await catalog.renew()
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


# ------------------------------------------------------------------------- a service that is silent

DOWN = Failure(code="KA-SERVICE", message="Out of order.")


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(module, "time", self)  # of the catalog alone

    def monotonic(self) -> float:
        return self.now


@pytest.mark.slow
async def test_whoever_wants_to_see_the_list_waits_two_seconds_at_most_and_it_comes_later() -> None:
    service = Service()
    catalog = catalog_of(service)
    begun = time.monotonic()
    await catalog.renew()

    assert PATIENCE < 2
    assert PATIENCE - 0.01 <= time.monotonic() - begun < PATIENCE + BUSY
    assert catalog.models() == models.BUILTIN
    await asyncio.gather(catalog.renew(), catalog.renew())
    assert service.asked == 2, "one question for each account, however many want the list"

    service.free.set()
    await catalog.renew()
    assert [model.id for model in catalog.models()] == ["new-9.1"]
    await catalog.close()


@pytest.mark.slow
async def test_a_token_that_cannot_be_renewed_holds_nobody_up_either() -> None:
    class Silent(Accounts):
        async def fresh(self, account: Account) -> Account:
            await asyncio.Event().wait()
            return account

    catalog = catalog_of(Service(free=True), accounts=Silent())
    async with asyncio.timeout(PATIENCE + BUSY):
        await catalog.renew()
    assert catalog.models() == models.BUILTIN
    await catalog.close()


@pytest.mark.parametrize("way", ["renew", "look_up", "ask_later", "on_turn_ended", "choice"])
async def test_a_list_that_failed_is_not_asked_for_again_for_a_minute_by_any_path(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    clock, service = Clock(monkeypatch), Service(free=True)
    service.wrong = DOWN
    catalog = catalog_of(service, accounts=Accounts("a"))
    account = Account(id="a")
    await catalog.renew()
    assert service.asked == 1

    async def again() -> None:
        match way:
            case "renew":
                await catalog.renew()
            case "look_up":
                await catalog.look_up(account)
            case "ask_later":
                catalog.ask_later([account])
            case "on_turn_ended":
                catalog.on_turn_ended(turn_ended("a"))
            case _:
                await catalog.wanted("unheard-of").choice(account)
        await asyncio.sleep(0.01)

    clock.now += AGAIN - 1
    await again()
    assert service.asked == 1
    clock.now += 1
    await again()
    assert service.asked == 2


async def test_an_empty_list_counts_as_one_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    service = Service(free=True)
    service.rows = []
    catalog = catalog_of(service, accounts=Accounts("a"))
    for _ in range(3):
        await catalog.renew()
    assert service.asked == 1


@pytest.mark.slow
async def test_the_last_list_outlives_the_gateway_and_counts_until_a_newer_one_is_there(
    tmp_path: Path,
) -> None:
    file, service = tmp_path / "state" / "lists.json", Service(free=True)
    service.rows = [{"modelId": "claude-opus-9.1", "tokenLimits": {"maxInputTokens": 7}}]
    await catalog_of(service, file=file).renew()
    assert file.stat().st_mode & 0o777 == 0o600

    silent = Service()
    catalog = catalog_of(silent, file=file)
    [model] = catalog.models()
    assert (model.id, model.context_window, model.inputs) == ("claude-opus-9.1", 7, frozenset({"text"}))
    choice = await catalog.wanted("anthropic/claude-opus-9-1").choice(Account(id="a"))
    assert choice.model is not None
    assert (choice.model.id, silent.asked) == ("claude-opus-9.1", 0), "known, so nobody is asked first"

    async with asyncio.timeout(PATIENCE + BUSY):
        await catalog.renew()
    assert [model.id for model in catalog.models()] == ["claude-opus-9.1"]
    assert silent.asked == 2
    await catalog.close()


async def test_one_account_s_models_are_its_own_once_they_are_known_and_nobody_else_is_asked(
    tmp_path: Path,
) -> None:
    file = tmp_path / "lists.json"
    known = {name: models.parse({"models": [{"modelId": f"of-{name}"}]}) for name in "bc"}
    write_lists(file, known)
    service = Service(free=True)
    catalog = catalog_of(service, accounts=Accounts("abc"), file=file)
    a, b = Account(id="a"), Account(id="b")

    assert [card.id for card in catalog.cards(b)] == ["of-b"]
    assert [card.id for card in catalog.cards()] == ["of-b", "of-c"]
    assert (catalog.card("of-b", b) is not None, catalog.card("of-c", b)) == (True, None)
    await catalog.renew(a)
    assert (service.asked, [card.id for card in catalog.cards(a)]) == (1, ["new-9-1"])


async def test_the_list_of_an_account_that_is_gone_counts_no_more(tmp_path: Path) -> None:
    file = tmp_path / "lists.json"
    gone, here = (models.Model(id=id_, name=id_) for id_ in ("gone-1", "here-1"))
    write_lists(file, {"x": (gone,), "a": (here,)})
    catalog = catalog_of(Service(free=True), file=file)

    assert catalog.models() == (here,)
    await catalog.renew()
    assert read_lists(file).keys() == {"a", "b"}


ODD = (b'{"a": [{"id": "\xff", "name": "x"}]}', b'{"a":' * 100_000, b"\xef\xbb\xbf{}", b"\x00")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": [{"id": 1, "name": "x"}]}', *ODD])
def test_a_file_that_cannot_be_read_is_no_list(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "lists.json"
    file.write_bytes(damage)
    assert catalog_of(Service(), file=file).models() == models.BUILTIN


async def test_a_list_is_read_anew_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, service = Clock(monkeypatch), Service(free=True)
    catalog = catalog_of(service, accounts=Accounts("a"))
    for later, asked in ((0, 1), (FRESH - 1, 1), (1, 2)):
        clock.now += later
        await catalog.renew()
        assert service.asked == asked


async def test_an_old_list_is_read_anew_before_a_name_is_taken_for_unknown(tmp_path: Path) -> None:
    file = tmp_path / "lists.json"
    old = models.Model(id="old-1", name="old-1")
    write_lists(file, {"a": (old,)})
    service = Service(free=True)
    wanted = catalog_of(service, file=file).wanted("new-9-1")

    assert wanted.lacking() == {"a"}
    assert (await wanted.choice(Account(id="a"))).model.id == "new-9.1"
    assert wanted.lacking() == frozenset()


# --------------------------------------------------------------------------------- what is shown

THINKS = {"properties": {"output_config": {"properties": {"effort": {"enum": ["low", "max"]}}}}}


async def test_models_that_can_be_asked_to_think_have_a_twin_and_others_have_none() -> None:
    service = Service(free=True)
    service.rows = [
        {"modelId": "claude-sonnet-4.5", "modelName": "Sonnet"},
        {"modelId": "claude-opus-9.1", "additionalModelRequestFieldsSchema": THINKS},
        {"modelId": "qwen3-coder"},
        {"modelId": "kimi-thinking", "additionalModelRequestFieldsSchema": THINKS},
    ]
    catalog = catalog_of(service)
    await catalog.renew()

    shown = {card.id: card for card in catalog.cards()}
    assert list(shown) == [
        *("claude-sonnet-4-5", "claude-sonnet-4-5-thinking", "claude-opus-9-1", "claude-opus-9-1-thinking"),
        *("qwen3-coder", "kimi-thinking"),
    ]
    assert shown["claude-sonnet-4-5-thinking"].name == "Sonnet Thinking"
    for twin in ("claude-sonnet-4-5-thinking", "claude-opus-9-1-thinking"):
        assert catalog.resolve(twin).thinking is not None
    assert catalog.card("anthropic/claude-opus-9-1-thinking@20260101") == shown["claude-opus-9-1"]
    assert catalog.card("claude-opus-9-2") is None


async def test_names_of_one_s_own_count_first_and_are_shown() -> None:
    aliases = {"Fast": "new-9-1", "claude-haiku-4-5": "new-9-1-thinking", "lost": "unheard-of"}
    catalog = catalog_of(Service(free=True), aliases=aliases)
    await catalog.renew()

    for name in ("fast", "FAST", "claude-haiku-4-5"):
        assert (await catalog.wanted(name).choice(Account(id="a"))).model.id == "new-9.1"
    assert catalog.resolve("claude-haiku-4-5").thinking is not None
    assert catalog.resolve("lost").model.id == "unheard-of"
    assert [card.id for card in catalog.cards()] == ["new-9-1", "fast", "claude-haiku-4-5"]
    fast = catalog.card("fast")
    assert fast is not None
    assert (fast.id, fast.name) == ("fast", "new-9.1")


@pytest.mark.parametrize("name", ["new-9-1", "Fast", "fast", "anthropic/new-9-1"])
async def test_a_model_is_listed_by_every_name_that_it_has(name: str) -> None:
    catalog = catalog_of(Service(free=True), aliases={"Fast": "new-9-1", "lost": "unheard-of"})

    assert await catalog.wanted(name).is_listed(Account(id="a"))
    assert not await catalog.wanted("lost").is_listed(Account(id="a"))
