"""What a gateway remembers of all that clients name has a bound: it runs for weeks."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.events import Instead
from kiro_auth.failures import Failure
from kiro_auth.gateway import control
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.catalog import Catalog
from kiro_auth.gateway.control import Control
from kiro_auth.gateway.draft import FieldRefusals
from kiro_auth.gateway.notices import Notices
from kiro_auth.kiro.models import Choice, Model
from kiro_auth.store.local import LocalHomes
from support.exchange import Client, Service
from support.pool import Stage
from support.turns import turn_ended

NAMES = [f"name-{number}" for number in range(5000)]
FULL = Failure(code="KA-CAPACITY", message="Full.")


def remembered(holder: object) -> int:
    """How many things it holds in collections of its own."""
    held = vars(holder).values()
    return sum(len(part) for part in held if isinstance(part, dict | set | list | deque))


@pytest.mark.slow
async def test_conversations_and_names_of_models_are_forgotten(tmp_path: Path) -> None:
    homes, refusals = LocalHomes(), FieldRefusals()
    now = 0.0
    notices = Notices("all", clock=lambda: now, monotonic=lambda: now)
    catalog = Catalog(Service(), lambda *_: None, Stage(tmp_path).pool)  # type: ignore[arg-type]
    for name in NAMES:
        now += 1.0
        homes.settle(name, "a")
        refusals.note(Account(id="a"), Choice(Model(id=name, name=name)))
        turn = turn_ended()
        assert turn.served is not None
        notices.on_turn_ended(replace(turn, served=replace(turn.served, instead=Instead(name, FULL))))
        catalog.resolve(name, ())

    for holder in (homes, refusals, notices, catalog):
        assert 0 < remembered(holder) <= 1100, holder
    assert await homes.home(NAMES[-1]) == "a"
    assert refusals.without(Account(id="a"), Choice(Model(id=NAMES[-1], name="m")))


class SignIn:
    """One that is over at once."""

    async def start(self, *_: Any) -> Any:
        return type("Prompt", (), {"url": "https://a.example", "code": "ABCD", "notice": None})

    async def finish(self) -> Account:
        return Account(id="a", label="Ada's")

    notices: tuple[str, ...] = ()


async def test_a_sign_in_that_is_over_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_TOLD_SECONDS", 0.01)
    stage = Stage(tmp_path)
    made = Control(
        stage.store,
        stage.pool,
        Notices("all", clock=lambda: 0.0),
        Activity(),
        keep_usage=lambda: asyncio.sleep(0),
        new_sign_in=SignIn,  # type: ignore[arg-type]
        on_signed_in=lambda _: None,
    )
    sign_in = made.routes()["POST /kiro/login"].waiting
    assert sign_in is not None
    for _ in range(20):
        await sign_in(Client().request("/kiro/login", b"{}"))
    assert remembered(made) > 0

    async with asyncio.timeout(5):
        while remembered(made):
            await asyncio.sleep(0.01)
