"""The control API that scripts and OpenCode's windows ask, without a socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.failures import Failure
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.http.routes import Routes
from kiro_auth.gateway.notices import Notices
from kiro_auth.store.protocol import Credits
from support.exchange import Client, a_request
from support.pool import NOW, Stage


class Gateway:
    """The routes over two accounts."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder, "ab")
        self.metered: dict[str, Credits] = {}
        self.notices = Notices("all", clock=lambda: NOW)
        control = Control(
            self.stage.store,
            self.stage.pool,
            self.notices,
            Activity(),
            keep_usage=self.keep_usage,
            new_sign_in=lambda: pytest.fail("nobody signs in"),
            on_signed_in=lambda _: None,
        )
        self._routes = Routes(control.routes())

    async def keep_usage(self) -> None:
        await self.stage.store.add_credits(self.metered)

    async def sign_in(self, body: bytes) -> tuple[int, Any]:
        """Status and body of the answer to a request for a sign-in."""
        return await self._asked("POST", "/kiro/login", body)

    async def get(self, address: str) -> tuple[int, Any]:
        """Status and body of an answer."""
        return await self._asked("GET", address, b"")

    async def _asked(self, method: str, address: str, body: bytes) -> tuple[int, Any]:
        route = self._routes.find(method, address.partition("?")[0])
        assert route is not None
        request = a_request(Client(), address, body)
        if route.at_once is not None:
            response: Any = route.at_once(request)
        else:
            assert route.waiting is not None
            response = await route.waiting(request)
        return response.status, json.loads(response.body)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


async def test_the_usage_of_each_account_is_told_with_its_figures(gateway: Gateway) -> None:
    gateway.stage.store.set_usage("b", {"usedCount": 12.5, "limitCount": 50})

    assert await gateway.get("/kiro/usage") == (
        200,
        {
            "accounts": [
                {"account": "Account a", "id": "a"},
                {"account": "Account b", "id": "b", "usedCount": 12.5, "limitCount": 50},
            ]
        },
    )


async def test_what_was_metered_just_now_is_part_of_the_usage(gateway: Gateway) -> None:
    gateway.metered["a"] = Credits(1.5, 0.5)

    _, answer = await gateway.get("/kiro/usage")

    assert answer["accounts"][0]["creditsSince"] == 1.5
    assert answer["accounts"][0]["lastTurnCredits"] == 0.5


async def test_the_accounts_are_told_with_their_states_and_without_secrets(gateway: Gateway) -> None:
    gateway.stage.store.change_account(
        "b", {"state": "quota", "stateUntil": 10**15, "stateReason": "Used up."}
    )

    status, body = await gateway.get("/kiro/accounts")

    assert status == 200
    assert [(row["id"], row["state"], row["stateReason"]) for row in body["accounts"]] == [
        ("a", "ready", None),
        ("b", "quota", "Used up."),
    ]
    assert "a-0" not in json.dumps(body)


async def test_a_window_gets_the_notices_after_the_number_that_it_has(gateway: Gateway) -> None:
    for option in ("one", "two", "three"):
        gateway.notices.problem(Failure(code="KA-CONFIG", message=f"{option} is wrong."))

    _, all_of_them = await gateway.get("/kiro/notices")
    _, the_last = await gateway.get("/kiro/notices?after=2")
    _, odd = await gateway.get("/kiro/notices?after=two")

    assert [notice["number"] for notice in all_of_them["notices"]] == [1, 2, 3]
    assert the_last == {
        "last": 3,
        "notices": [{"number": 3, "message": "three is wrong (KA-CONFIG).", "variant": "warning"}],
    }
    assert odd == all_of_them


async def test_a_store_that_cannot_be_read_is_said_so(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "kiro-accounts.json").write_text("{")

    for address in ("/kiro/usage", "/kiro/accounts"):
        status, body = await gateway.get(address)
        assert (status, body["error"]["code"]) == (400, "KA-STORE")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"method": "\xff"}', b'{"a":' * 100_000, b'{"method": 1}'])
async def test_a_sign_in_that_cannot_be_read_is_refused_in_words(gateway: Gateway, body: bytes) -> None:
    status, answer = await gateway.sign_in(body)

    assert (status, answer["error"]["code"]) == (400, "KA-REQUEST")
    assert answer["error"]["message"].startswith("The request cannot be read: ")
