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

    async def slow(_: Account) -> TokenGrant:
        await asyncio.sleep(0.5)
        return TokenGrant("new", "newer", 3600)

    as_ever: Callable[..., object] = lambda *_: slow  # noqa: E731
    monkeypatch.setattr(parts, "renewal", as_ever)
    await kept_store().add({"id": "a", "accessToken": "old", "refreshToken": "spent", "expiresAt": 1})

    async def command() -> None:
        async with parts.open_own_parts() as opened:
            [account] = opened.pool.accounts()
            await opened.pool.fresh(account)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(command(), 0.1)

    assert kept_store().snapshot().accounts[0]["refreshToken"] == "newer"
