"""The control API under `/kiro/`: for the OpenCode shim, the command line, and people's own scripts."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.accounts.view import account_view, unreadable_view
from kiro_auth.events import noted
from kiro_auth.failures import DEFECT, Failure, KiroAuthError
from kiro_auth.gateway.activity import Activity
from kiro_auth.gateway.body import MAX_BODY, read_body
from kiro_auth.gateway.http.request import Request
from kiro_auth.gateway.http.response import Response
from kiro_auth.gateway.http.site import Route
from kiro_auth.gateway.notices import Notices
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.login.terms import notice_of_terms
from kiro_auth.store.protocol import Store

if TYPE_CHECKING:
    from kiro_auth.login.device_flow import DeviceSignIn

log = logging.getLogger("kiro_auth.control")

_SIGN_IN: Final = "/kiro/login/"
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

    def routes(self) -> dict[str, Route]:
        """What is at which address."""
        return {
            "POST /kiro/login": Route(waiting=self._login, limit=MAX_BODY),
            f"GET {_SIGN_IN}*": Route(self._login_status),
            "GET /kiro/accounts": Route(self._accounts),
            "GET /kiro/usage": Route(waiting=self._usage),
            "GET /kiro/notices": Route(self._tell),
            "GET /kiro/waiting": Route(self._wait),
        }

    async def close(self) -> None:
        """End the sign-ins that are still waiting."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _login(self, request: Request) -> Response:
        try:
            wanted: LoginRequest = decoded_as(await read_body(request) or b"{}", LoginRequest)
        except NotJson as error:
            return _failed(Failure(code="KA-REQUEST", message=f"The request cannot be read: {error}."))
        try:
            return _json(await self.begin_sign_in(wanted))
        except KiroAuthError as error:
            return _failed(error.failure)

    async def begin_sign_in(self, wanted: LoginRequest) -> dict[str, Any]:
        """A new sign-in: its `id`, `url` to open, `code` to compare, and `notice`.  Raises SignInFailed."""
        sign_in = self._new_sign_in()
        prompt = await sign_in.start(wanted.method, wanted.start_url or None, wanted.region or None)
        session_id = secrets.token_urlsafe(12)
        self._answers[session_id] = {"status": "pending"}
        task = asyncio.create_task(self._run(session_id, sign_in))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        notice = " ".join(filter(None, (prompt.notice, notice_of_terms(self._store)))) or None
        return {"id": session_id, "url": prompt.url, "code": prompt.code, "notice": notice}

    def sign_in_status(self, session_id: str) -> dict[str, Any] | None:
        """How a sign-in goes; None: there is none of this id."""
        return self._answers.get(session_id)

    async def _run(self, session_id: str, sign_in: DeviceSignIn) -> None:
        try:
            with self._activity.under_way():
                self._answers[session_id] = await self._outcome(sign_in)
                await asyncio.sleep(_TOLD_SECONDS)
        finally:
            del self._answers[session_id]

    async def _outcome(self, sign_in: DeviceSignIn) -> dict[str, Any]:
        try:
            account = await sign_in.finish()
        except KiroAuthError as error:
            return {"status": "failed", "message": error.failure.sentence()}
        except Exception:
            log.exception("a sign-in failed by a defect of this program")
            return {"status": "failed", "message": DEFECT.message}
        log.info("%s is signed in", account.name, extra=noted("signed in", account=account.name))
        self._on_signed_in(account)
        return {"status": "done", "account": account.name, "notices": sign_in.notices}

    def _login_status(self, request: Request) -> Response:
        answer = self.sign_in_status(request.path.removeprefix(_SIGN_IN))
        if answer is None:
            return _failed(Failure(code="KA-LOGIN", message="There is no such sign-in."))
        return _json(answer)

    def _accounts(self, _: Request) -> Response:
        try:
            accounts, unreadable = self._pool.accounts(), self._pool.unreadable()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json(
            {
                "accounts": [account_view(account, time.time()) for account in accounts],
                "unreadable": [unreadable_view(each) for each in unreadable],
            }
        )

    async def _usage(self, _: Request) -> Response:
        try:
            await self._keep_usage()
            rows = self._store.snapshot().usage_rows()
            accounts = self._pool.accounts()
        except KiroAuthError as error:
            return _failed(error.failure)
        return _json({"accounts": [{"account": a.name, "id": a.id, **rows.get(a.id, {})} for a in accounts]})

    def _wait(self, _: Request) -> Response:
        return _json({"waiting": self._waiting()})

    def _tell(self, request: Request) -> Response:
        after = request.query.get("after", [""])[0]
        last, new = self._notices.since(int(after) if after.isdecimal() and len(after) < 12 else 0)
        return _json({"last": last, "notices": new})


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value))


def _failed(failure: Failure) -> Response:
    body = {"error": {"code": failure.code, "message": failure.sentence()}}
    return Response(msgspec.json.encode(body), 400)
