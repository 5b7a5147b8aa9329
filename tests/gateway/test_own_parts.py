"""What commands that ask the service are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.gateway import parts
from kiro_auth.gateway.own_store import kept_store
from kiro_auth.kiro.tokens.grants import TokenGrant


async def test_a_renewal_under_way_is_saved_though_the_command_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old refresh token is spent by then, so an unsaved new one would mean a new sign-in."""
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))

    asked, answers = asyncio.Event(), asyncio.Event()

    async def slow(_: Account) -> TokenGrant:
        asked.set()
        await answers.wait()
        return TokenGrant("new", "newer", 3600)

    as_ever: Callable[..., object] = lambda *_: slow  # noqa: E731
    monkeypatch.setattr(parts, "renewal", as_ever)
    await kept_store().add({"id": "a", "accessToken": "old", "refreshToken": "spent", "expiresAt": 1})

    async def command() -> None:
        async with parts.open_own_parts() as opened:
            [account] = opened.pool.accounts()
            await opened.pool.fresh(account)

    running = asyncio.create_task(command())
    await asked.wait()
    running.cancel()
    asyncio.get_running_loop().call_later(0.1, answers.set)
    with pytest.raises(asyncio.CancelledError):
        await running

    assert kept_store().snapshot().accounts[0]["refreshToken"] == "newer"
