"""The control API under `/kiro/`: for the OpenCode shim, the command line, and people's own scripts."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.view import account_view
from kiro_auth.events import noted
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.body import read_body
from kiro_auth.gateway.notices import Notices
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.login.device_flow import DeviceSignIn
from kiro_auth.login.terms import notice_of_terms
from kiro_auth.store.protocol import Store

log = logging.getLogger("kiro_auth.control")


_TOLD_SECONDS: Final = 5.0
"""How long after its end a sign-in may be asked after for sure; the shim asks every second."""


class LoginRequest(Struct, rename="camel"):
    """What starts a sign-in.  `start_url` and `region` are for method `idc`; absent: the configured ones."""

    method: str = "builder-id"
    start_url: str | None = None
    region: str | None = None


class Control:
    """The routes and the sign-ins they hold.

    `keep_usage` has the store keep what was metered lately; `new_sign_in` makes a fresh sign-in;
    `on_signed_in` hears of every account that was added; `waiting` are the requests that wait for a reset.  A
    sign-in counts as `activity`, so that neither idleness nor a newer version ends it.
    """

    def __init__(
        self,
        store: Store,
        pool: Pool,
        notices: Notices,
        activity: Activity,
        *,
        keep_usage: Callable[[], Awaitable[None]],
        new_sign_in: Callable[[], DeviceSignIn],
        on_signed_in: Callable[[Account], None],
        waiting: Callable[[], list[dict[str, str | None]]] = list,
    ) -> None:
        self._store = store
        self._pool = pool
        self._notices = notices
        self._activity = activity
        self._keep_usage = keep_usage
        self._new_sign_in = new_sign_in
        self._on_signed_in = on_signed_in
        self._waiting = waiting
        self._answers: dict[str, dict[str, Any]] = {}  # by sign-in: what GET /kiro/login/<id> answers
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.post("/kiro/login", self._login),
            web.get("/kiro/login/{id}", self._login_status),
            web.get("/kiro/accounts", self._accounts),
            web.get("/kiro/usage", self._usage),
            web.get("/kiro/notices", self._tell),
            web.get("/kiro/waiting", self._wait),
        ]

    async def close(self) -> None:
        """End the sign-ins that are still waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _login(self, request: web.Request) -> web.Response:
        try:
            wanted: LoginRequest = decoded_as(await read_body(request) or b"{}", LoginRequest)
        except NotJson as error:
            return _failed(Failure(code="KA-REQUEST", message=f"The request cannot be read: {error}."))
        sign_in = self._new_sign_in()
        try:
            prompt = await sign_in.start(wanted.method, wanted.start_url or None, wanted.region or None)
        except KiroAuthError as error:
            return _failed(error.failure)
        session_id = secrets.token_urlsafe(12)
        self._answers[session_id] = {"status": "pending"}
        task = asyncio.create_task(self._run(session_id, sign_in))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        notice = " ".join(filter(None, (prompt.notice, notice_of_terms(self._store)))) or None
        return _json({"id": session_id, "url": prompt.url, "code": prompt.code, "notice": notice})

    async def _run(self, session_id: str, sign_in: DeviceSignIn) -> None:
        with self._activity.under_way():
            self._answers[session_id] = await self._outcome(sign_in)
            await asyncio.sleep(_TOLD_SECONDS)

    async def _outcome(self, sign_in: DeviceSignIn) -> dict[str, Any]:
        try:
            account = await sign_in.finish()
        except KiroAuthError as error:
            return {"status": "failed", "message": error.failure.sentence()}
        except Exception:
            log.exception("a sign-in failed by a defect of this program")
            return {"status": "failed", "message": "The gateway made a mistake; its log says more."}
        log.info("%s is signed in", account.name, extra=noted("signed in", account=account.name))
        self._on_signed_in(account)
        return {"status": "done", "account": account.name, "notices": sign_in.notices}

    async def _login_status(self, request: web.Request) -> web.Response:
        answer = self._answers.get(request.match_info["id"])
        if answer is None:
            return _failed(Failure(code="KA-LOGIN", message="There is no such sign-in."))
        return _json(answer)

    async def _accounts(self, _: web.Request) -> web.Response:
        try:
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json({"accounts": [account_view(account, time.time()) for account in accounts]})

    async def _usage(self, _: web.Request) -> web.Response:
        try:
            await self._keep_usage()
            rows = self._store.snapshot().usage_rows()
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json({"accounts": [{"account": a.name, "id": a.id, **rows.get(a.id, {})} for a in accounts]})

    async def _wait(self, _: web.Request) -> web.Response:
        return _json({"waiting": self._waiting()})

    async def _tell(self, request: web.Request) -> web.Response:
        after = request.query.get("after", "")
        last, new = self._notices.since(int(after) if after.isdecimal() and len(after) < 12 else 0)
        return _json({"last": last, "notices": new})


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _failed(failure: Failure) -> web.Response:
    body = {"error": {"code": failure.code, "message": failure.sentence()}}
    return web.Response(status=400, body=msgspec.json.encode(body), content_type="application/json")
