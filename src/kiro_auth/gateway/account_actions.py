"""What a person does to an account from the dashboard: as the commands of the same names do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.failures import Failure, SignInFailed
from kiro_auth.gateway.control import Control, LoginRequest
from kiro_auth.gateway.own_store import check_changeable
from kiro_auth.gateway.parts import Parts
from kiro_auth.gateway.verification import verify
from kiro_auth.store.protocol import Record


class AccountActions:
    """Over the gateway's store; sign-ins are those of its control API."""

    def __init__(self, parts: Parts, control: Control) -> None:
        self._parts = parts
        self._control = control

    async def enable(self, account: Account) -> str:
        """Let it take requests again."""
        await self._change(account, health.ready_after("enabled", account.state, self._parts.clock.now()))
        return f"{account.name} takes requests again."

    async def disable(self, account: Account) -> str:
        """Keep it, but send it no requests."""
        await self._change(account, health.disabled(self._parts.clock.now()))
        return f"{account.name} takes no more requests."

    async def verify(self, account: Account) -> str:
        """Ask Kiro whether it works."""
        verdict = await verify(self._parts, account)
        return verdict.sentence(self._parts.clock.now())

    async def sign_in(self, account: Account) -> Mapping[str, Any]:
        """Begin a sign-in at the place where the account signed in.  Raises SignInFailed."""
        if account.kind not in ("builder-id", "idc"):
            step = health.sign_in_command(account)
            message = "This kind of account signs in with a command."
            raise SignInFailed(Failure(code="KA-LOGIN", message=message, next_step=step))
        of_organisation = account.kind == "idc"
        return await self._control.begin_sign_in(
            LoginRequest(
                method=account.kind,
                start_url=account.sso_start_url if of_organisation else None,
                region=account.region if of_organisation else None,
            )
        )

    def sign_in_status(self, id_: str) -> Mapping[str, Any] | None:
        """How it goes."""
        return self._control.sign_in_status(id_)

    async def _change(self, account: Account, fields: Record | None) -> None:
        store = self._parts.store
        check_changeable(store, account)
        await store.change(account.id, fields or {})
