"""What the gateway tells of itself under /kiro/, and what follows a sign-in there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from kiro_auth.login.terms import REPORTED
from kiro_auth.surfaces.surface import ModelCard
from support.programs import KEY, Home, Simulator
from support.serving import Served, serving
from support.storing import HandStore

RECORD = {
    "accessToken": "a-secret-token",
    "refreshToken": "a-secret-refresh-token",
    "expiresAt": 4_102_444_800_000,
}


@pytest.fixture
def home(served: tuple[Home, Simulator]) -> Home:
    """Ada and Grace, of whom only Ada's usage has been read."""
    home, _ = served
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "ada", "label": "Ada's", **RECORD})
    store.add_account({"id": "grace", "label": "Grace's", **RECORD, "state": "disabled"})
    store.set_usage("ada", {"used": 250.0, "limit": 1000.0})
    return home


async def get(gateway: Served, path: str, key: str = KEY) -> Any:
    async with gateway.http.get(f"{gateway.url}{path}", headers={"x-api-key": key}) as answer:
        return answer.status, await answer.json()


async def test_accounts_are_told_with_their_states_and_without_secrets(home: Home) -> None:
    async with serving(home) as gateway:
        status, told = await get(gateway, "/kiro/accounts")

    assert status == 200
    assert [(a["id"], a["name"], a["state"]) for a in told["accounts"]] == [
        ("ada", "Ada's", "ready"),
        ("grace", "Grace's", "disabled"),
    ]
    assert "secret" not in str(told)


async def test_usage_has_every_account_and_the_figures_of_those_that_were_read(home: Home) -> None:
    async with serving(home) as gateway:
        status, told = await get(gateway, "/kiro/usage")

    assert status == 200
    ada, grace = told["accounts"]
    assert (ada["id"], ada["account"], ada["used"], ada["limit"]) == ("ada", "Ada's", 250.0, 1000.0)
    assert grace == {"id": "grace", "account": "Grace's"}


async def test_notices_are_told_from_a_number_and_each_once(home: Home) -> None:
    """Two options that cannot be used are two notices."""
    (home.config / "kiro.json").write_text('{"toast_level": "loud", "rate_limit_max_retries": "many"}')
    async with serving(home) as gateway:
        _, everything = await get(gateway, "/kiro/notices")
        first = everything["last"] - 1
        _, newer = await get(gateway, f"/kiro/notices?after={first}")
        _, nothing = await get(gateway, f"/kiro/notices?after={everything['last']}")
        _, unreadable = await get(gateway, "/kiro/notices?after=-1")

    assert len(everything["notices"]) == 2
    assert newer == {"last": everything["last"], "notices": everything["notices"][1:]}
    assert nothing == {"last": everything["last"], "notices": []}
    assert unreadable == everything


@pytest.mark.parametrize("path", ["/kiro/accounts", "/kiro/usage", "/kiro/notices"])
async def test_nothing_of_it_is_told_without_the_key(home: Home, path: str) -> None:
    async with serving(home) as gateway:
        status, told = await get(gateway, path, key="wrong")

    assert (status, "key is wrong" in str(told)) == (401, True)


async def test_the_models_of_an_account_are_listed_as_soon_as_it_has_signed_in(
    served: tuple[Home, Simulator],
) -> None:
    """So that OpenCode shows them before the first turn."""
    home, simulator = served
    listed = asyncio.Queue[tuple[list[str], bool]]()

    def on_models_listed(cards: Sequence[ModelCard], complete: bool) -> None:
        listed.put_nowait(([card.id for card in cards], complete))

    async with serving(home, on_models_listed=on_models_listed) as gateway:
        answer = gateway.http.post(f"{gateway.url}/kiro/login", json={}, headers={"x-api-key": KEY})
        async with answer as started:
            code = (await started.json())["code"]
        simulator.ask("approve", {"userCode": code})
        names, complete = await asyncio.wait_for(listed.get(), 20)

    assert "claude-sonnet-4-5" in names
    assert complete


async def test_what_is_reported_of_the_terms_is_said_with_the_first_sign_in_alone(
    served: tuple[Home, Simulator],
) -> None:
    home, simulator = served

    async with serving(home) as gateway:

        async def begun() -> Any:
            call = gateway.http.post(f"{gateway.url}/kiro/login", json={}, headers={"x-api-key": KEY})
            async with call as answer:
                return await answer.json()

        first = await begun()
        simulator.ask("approve", {"userCode": first["code"]})
        while not (home.config / "kiro-accounts.json").exists():
            await asyncio.sleep(0.1)
        second = await begun()

    assert REPORTED in first["notice"]
    assert second["notice"] is None
