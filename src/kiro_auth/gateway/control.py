"""The control API under `/kiro/`: for the OpenCode shim, the command line, and people's own scripts."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.notices import Notices
from kiro_auth.login.device_flow import DeviceSignIn
from kiro_auth.store.store import Store

log = logging.getLogger("kiro_auth.control")


class LoginRequest(Struct, rename="camel"):
    """What starts a sign-in.  `start_url` and `region` are for method `idc`; absent: the configured ones."""

    method: str = "builder-id"
    start_url: str | None = None
    region: str | None = None


class _Session(Struct):
    """One sign-in under way.  `task` ends with the account or SignInFailed."""

    task: asyncio.Task[Account]


class Control:
    """The routes and the sign-ins they hold.

    `new_sign_in` makes a fresh sign-in; `signed_in` is told of every account that was added.
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        notices: Notices,
        new_sign_in: Callable[[], DeviceSignIn],
        signed_in: Callable[[Account], None],
    ) -> None:
        self._store = store
        self._pool = pool
        self._notices = notices
        self._new_sign_in = new_sign_in
        self._signed_in = signed_in
        self._sessions: dict[str, _Session] = {}

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.post("/kiro/login", self._login),
            web.get("/kiro/login/{id}", self._login_status),
            web.get("/kiro/accounts", self._accounts),
            web.get("/kiro/usage", self._usage),
            web.get("/kiro/notices", self._tell),
        ]

    async def close(self) -> None:
        """End the sign-ins that are still waiting."""
        for session in self._sessions.values():
            session.task.cancel()
        await asyncio.gather(*(s.task for s in self._sessions.values()), return_exceptions=True)

    async def _login(self, request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read() or b"{}", type=LoginRequest)
        except msgspec.MsgspecError as error:
            return _failed(Failure(code="KA-REQUEST", message=f"The request cannot be read: {error}."))
        sign_in = self._new_sign_in()
        try:
            prompt = await sign_in.start(wanted.method, wanted.start_url or None, wanted.region or None)
        except KiroAuthError as error:
            return _failed(error.failure)
        session_id = secrets.token_urlsafe(12)
        self._sessions[session_id] = _Session(asyncio.create_task(self._finish(sign_in)))
        return _json({"id": session_id, "url": prompt.url, "code": prompt.code})

    async def _finish(self, sign_in: DeviceSignIn) -> Account:
        account = await sign_in.finish()
        self._signed_in(account)
        return account

    async def _login_status(self, request: web.Request) -> web.Response:
        session = self._sessions.get(request.match_info["id"])
        if session is None:
            return _failed(Failure(code="KA-LOGIN", message="There is no such sign-in."))
        if not session.task.done():
            return _json({"status": "pending"})
        try:
            return _json({"status": "done", "account": session.task.result().name})
        except KiroAuthError as error:
            return _json({"status": "failed", "message": error.failure.sentence()})
        except Exception:
            log.exception("a sign-in failed by a defect of this program")
            return _json({"status": "failed", "message": "The gateway made a mistake; its log says more."})

    async def _accounts(self, _: web.Request) -> web.Response:
        try:
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json({"accounts": [_summary(account, time.time()) for account in accounts]})

    async def _usage(self, _: web.Request) -> web.Response:
        try:
            rows = await asyncio.to_thread(self._store.usage)
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json({"accounts": [{"account": a.name, "id": a.id, **rows.get(a.id, {})} for a in accounts]})

    async def _tell(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "")
        last, new = self._notices.since(int(after) if after.isdecimal() and len(after) < 12 else 0)
        return _json({"last": last, "notices": new})


def _summary(account: Account, now: float) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "kind": account.kind,
        "region": account.region,
        "serviceRegion": account.service_region,
        "state": health.effective(account, now),
        "reason": account.state_reason,
        "until": account.state_until,
        "expiresAt": account.expires_at,
    }


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _failed(failure: Failure) -> web.Response:
    body = {"error": {"code": failure.code, "message": failure.sentence()}}
    return web.Response(status=400, body=msgspec.json.encode(body), content_type="application/json")
