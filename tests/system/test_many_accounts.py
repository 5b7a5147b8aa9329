"""Twice the accounts are twice the work of a command and of a turn, never four times; Kiro is asked about so
many at a time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.accounts import roster
from kiro_auth.accounts.account import Account
from kiro_auth.gateway.parts import AT_ONCE, of_each
from support.counting import calls
from support.pool import Stage
from support.programs import Home, Services
from support.serving import serving

pytestmark = pytest.mark.timeout(180)

FEW, MANY = 60, 120
COMMANDS = (("accounts",), ("accounts", "--json"), ("status",), ("usage",), ("models",), ("doctor",))


def record(number: int, held: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{number:032x}",
        "email": f"user{number}@example.com",
        "authMethod": "idc",
        "region": held["region"],
        "clientId": held["clientId"],
        "clientSecret": held["clientSecret"],
        "refreshToken": held["refreshToken"],
        "accessToken": held["accessToken"],
        "expiresAt": (time.time() + 36000) * 1000,
    }


def home_of(count: int, folder: Path, services: Services) -> Home:
    """A home with so many accounts, all of the same person."""
    home = Home(folder)
    held = services.begin(home, auto_approve=True).ask("sign-in", {"user": "ada@example.com"})
    home.config.mkdir(parents=True, mode=0o700)
    path = home.config / "kiro-accounts.json"
    accounts = [record(number, held) for number in range(count)]
    path.write_text(json.dumps({"version": 1, "accounts": accounts, "activeIndex": 0}))
    path.chmod(0o600)
    return home


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_linear_in_the_accounts(
    command: tuple[str, ...], tmp_path: Path, services: Services
) -> None:
    work = []
    for run, count in enumerate((FEW, FEW, MANY)):  # the first one imports what is needed
        home = home_of(count, tmp_path / str(run), services)
        work.append(calls(lambda home=home: home.run(*command, check=False)))  # type: ignore[misc]

    assert work[2] < 2.3 * work[1]


async def test_a_turn_is_linear_in_the_accounts(tmp_path: Path, services: Services) -> None:
    work = {}
    for count in (FEW, MANY):
        home = home_of(count, tmp_path / str(count), services)
        async with serving(home) as gateway:
            for _ in range(3):
                assert (await gateway.ask())[0] == 200
            # The least of some: what the gateway does by itself may fall into one of them.
            work[count] = min([await counted(gateway.ask) for _ in range(5)])

    assert work[MANY] < 2.3 * work[FEW]


async def counted(ask: Callable[[], Any]) -> int:
    """The calls while it is answered."""
    made = 0

    def on_call(_: object, event: str, __: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(on_call)
    try:
        await ask()
    finally:
        sys.setprofile(None)
    return made


def test_an_account_that_did_not_change_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [dict(each) for each in Stage(tmp_path, "abcdefghij").store.snapshot().accounts]
    read: list[str] = []

    def account_of(given: Any) -> Account:
        read.append(given["id"])
        return really(given)

    really = roster.account_of
    monkeypatch.setattr(roster, "account_of", account_of)
    reader = roster.Reader()
    first = reader.read(records)
    again = reader.read([dict(each) for each in records])
    assert (len(read), again) == (10, first)

    changed = [{**records[0], "label": "new"}, *records[1:]]
    assert reader.read(changed)[0][0].name == "new"
    assert read[10:] == [records[0]["id"]]


@pytest.mark.parametrize("ids", ["same", "different"])
def test_names_are_told_apart_in_linear_work(ids: str) -> None:
    def read(count: int) -> int:
        records = [
            {"id": "x" if ids == "same" else f"{n:032x}", "email": "a@b.c", "authMethod": "idc"}
            for n in range(count)
        ]
        return calls(lambda: roster.Reader().read(records))

    read(2)
    assert read(400) < 2.2 * read(200)


async def test_so_many_accounts_are_asked_about_at_a_time_and_told_in_their_order() -> None:
    under_way, most = 0, 0

    async def ask(number: Any) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return int(number) * 2

    numbers: Any = range(500)
    assert await of_each(numbers, ask) == [number * 2 for number in numbers]
    assert most == AT_ONCE
