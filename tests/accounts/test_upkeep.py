"""Tokens that are renewed before anybody asks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.upkeep import IN_USE_SECONDS, Upkeep
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.store.protocol import Renewed
from support.storing import HandStore
from support.turns import turn_ended

NOW = 1_800_000_000.0


class Stage:
    """One account with an hour left, and a sign-in service that counts."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.now = NOW
        self.renewed = 0
        self.trouble: Failure | None = None
        self.store = HandStore(folder, folder / "locks")
        record = {"id": "a", "accessToken": "t", "refreshToken": "r", "expiresAt": (NOW + 3600) * 1000}
        self.store.add_account(record | fields)
        self.pool = Pool(
            self.store,
            config.load(environment={}, folder=folder / "nowhere"),
            refresh=self._renew,
            clock=lambda: self.now,
        )
        self.upkeep = Upkeep(self.pool, clock=lambda: self.now, monotonic=lambda: self.now)

    async def _renew(self, _: Account) -> TokenGrant:
        self.renewed += 1
        if self.trouble:
            raise TurnFailed(self.trouble)
        return TokenGrant(f"t{self.renewed}", "r", 3600)

    def use(self) -> None:
        self.upkeep.on_turn_ended(turn_ended())


async def test_it_begins_with_what_killed_processes_left_and_saves_at_each_look_what_is_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, expiresAt=1)
    stage.store.ahead.keep(
        Renewed("a", "r", {"accessToken": "left", "refreshToken": "left", "generation": 1})
    )
    saved: list[str] = []

    async def look_on(_: float) -> None:
        saved.append(stage.store.accounts()[0]["refreshToken"])
        if len(saved) == 1:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", lambda _: os.close(-1))
                await stage.pool.fresh(stage.pool.accounts()[0])
        if len(saved) == 3:
            raise asyncio.CancelledError

    upkeep = Upkeep(stage.pool, clock=lambda: stage.now, sleep=look_on, monotonic=lambda: stage.now)
    with pytest.raises(asyncio.CancelledError):
        await upkeep.run()

    assert saved[0] == "left"
    assert stage.store.accounts()[0]["accessToken"] == "t1"


async def test_people_hear_of_a_token_that_cannot_be_saved_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, expiresAt=1)
    heard: list[Failure] = []
    looks: list[int] = []

    async def sleep(_: float) -> None:
        looks.append(len(heard))
        if len(looks) == 3:
            monkeypatch.undo()
        if len(looks) == 5:
            raise asyncio.CancelledError

    monkeypatch.setattr(os, "fsync", lambda _: os.close(-1))
    await stage.pool.fresh(stage.pool.accounts()[0])
    upkeep = Upkeep(stage.pool, clock=lambda: stage.now, on_problem=heard.append, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await upkeep.run()

    assert looks == [0, 1, 2, 2, 2]
    assert {failure.code for failure in heard} == {"KA-STORE"}
    assert stage.store.accounts()[0]["accessToken"] == "t1"


async def test_an_account_in_use_is_renewed_ahead_of_its_end_and_not_before(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.now += 3000
    stage.use()
    await stage.upkeep.look()
    assert stage.renewed == 0

    stage.now += 550
    await stage.upkeep.look()
    await stage.upkeep.look()
    assert stage.renewed == 1


async def test_an_account_that_nobody_uses_any_more_is_let_be(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.use()
    stage.now += IN_USE_SECONDS + 1
    await stage.upkeep.look()

    assert stage.renewed == 0


@pytest.mark.parametrize(
    ("state", "renewed"),
    [("ready", 1), ("cooling", 1), ("quota", 1), ("suspended", 0), ("sign-in", 0), ("disabled", 0)],
)
async def test_only_accounts_that_come_back_by_themselves_are_kept(
    tmp_path: Path, state: str, renewed: int
) -> None:
    stage = Stage(tmp_path, state=state, stateUntil=(NOW + 10**6) * 1000, expiresAt=0)
    stage.use()
    await stage.upkeep.look()

    assert stage.renewed == renewed


async def test_a_used_up_account_is_kept_though_nobody_used_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, state="quota", stateUntil=(NOW + 10**6) * 1000, expiresAt=0)
    await stage.upkeep.look()

    assert stage.renewed == 1


async def test_trouble_ends_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path, expiresAt=0)
    stage.use()
    stage.trouble = Failure(code="KA-NETWORK", message="Nobody there.")
    await stage.upkeep.look()
    (tmp_path / "kiro-accounts.json").write_text("{")
    await stage.upkeep.look()

    assert stage.renewed == 1


async def test_a_defect_ends_one_look_and_not_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    looks: list[int] = []

    async def next_look(_: float) -> None:
        looks.append(len(looks))
        if len(looks) > 2:
            raise asyncio.CancelledError

    def broken() -> list[Account]:
        raise ValueError("a defect")

    monkeypatch.setattr(stage.pool, "accounts", broken)
    upkeep = Upkeep(stage.pool, clock=lambda: stage.now, sleep=next_look)
    with pytest.raises(asyncio.CancelledError):
        await upkeep.run()
    assert len(looks) == 3
