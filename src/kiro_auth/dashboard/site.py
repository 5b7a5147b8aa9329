"""The dashboard's addresses: `/` for a browser, and everything below `/dashboard/`.

The guard has looked at Host, Origin and key before.  A browser shows no key, but the cookie of a session,
which it got by a link that is good once.  What changes something needs the page's own origin and token too.
The holder of a client key sees one page of its own, and nothing else here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Final

from aiohttp import web

from kiro_auth.accounts.account import Account
from kiro_auth.dashboard import spending
from kiro_auth.dashboard.addresses import EVENTS, FOLDER, NEW_LINK, SAME_USER
from kiro_auth.dashboard.answers import HEADERS, WITH_FORM, cookie_name, entered, html, json_answer, refused
from kiro_auth.dashboard.live import Live
from kiro_auth.dashboard.oidc.entrance import Entrance
from kiro_auth.dashboard.pages import Pages, closed_page, holder_page
from kiro_auth.dashboard.sessions import LINK_SECONDS, Link, Session, Sessions, is_right
from kiro_auth.dashboard.sources import Actions, Holders, Sources
from kiro_auth.dashboard.words import line
from kiro_auth.events import Caller, noted
from kiro_auth.failures import KiroAuthError
from kiro_auth.socket_owners import caller, whose

log = logging.getLogger("kiro_auth.dashboard")

CSRF_HEADER: Final = "x-csrf-token"
STATIC: Final = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "chart.js": "text/javascript",
    "theme.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
"""The files that are served, and no other."""
_FORM: Final = "application/x-www-form-urlencoded"
_LONGEST_FORM: Final = 1000
"""Bytes."""
_HEADLINE: Final = "This is the gateway of kiro-auth"
_OPEN: Final = "To see your accounts here, type this in a terminal:"
_OF_ANOTHER_USER: Final = (
    "It is for a browser of the user who asked for it, and this one is of another user of the machine, or of "
    "another machine. For that user it is still good. A link for any browser is printed by: "
    "kiro-auth dashboard --no-browser"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OfSession = Callable[[web.Request, Session], Awaitable[web.StreamResponse]]


class Site:
    """The handlers; `sources` is what they show, `actions` what they do.

    `holders` are those of client keys, and `holder_of` says whether a request is of one; None: the owner's.
    People of a company come in by the `entrance`.
    """

    def __init__(
        self,
        sources: Sources,
        actions: Actions,
        sessions: Sessions,
        holders: Holders,
        holder_of: Callable[[web.Request], Caller | None],
        entrance: Entrance,
    ) -> None:
        self._entrance = entrance
        self._holders = holders
        self._holder_of = holder_of
        self._sources = sources
        self._actions = actions
        self._sessions = sessions
        self._pages = Pages(sources)
        self.live = Live(self._pages.sections)

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application."""
        return [
            web.get("/", self.page),
            web.post(NEW_LINK, self._new_link),
            web.get(f"{FOLDER}open/{{token}}", self._follow_link, allow_head=False),
            web.post(f"{FOLDER}open", self._open_with_key),
            web.post(f"{FOLDER}leave", self._leave),
            web.get(f"{FOLDER}static/{{name}}", _file),
            web.get(EVENTS, self._reading(self._events), allow_head=False),
            web.get(f"{FOLDER}spending", self._reading(self._spending)),
            web.get(f"{FOLDER}sign-ins/{{id}}", self._reading(self._sign_in_status)),
            web.post(f"{FOLDER}accounts/{{id}}/{{action}}", self._changing(self._act)),
            web.post(f"{FOLDER}close", self._changing(self._close)),
            *self._entrance.routes(),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The dashboard, or to whoever has no session how to open it."""
        session = self._session(request)
        if session is None:
            return self._closed(_OPEN, 200)
        if session.holder is not None:
            return await self._page_of(session.holder, session)
        return html(await self._pages.page(session.csrf))

    async def _page_of(self, holder: Caller, session: Session) -> web.Response:
        try:
            view = await self._holders.view(holder)
        except KiroAuthError as error:
            if is_gone := error.failure.code.startswith("KA-KEY-"):
                self._sessions.end(session)
            return self._closed(error.failure.spoken(self._sources.clock()), 401 if is_gone else 503)
        return html(holder_page(view, session.csrf), headers=WITH_FORM)

    def _closed(self, words: str, status: int) -> web.Response:
        page = closed_page(
            _HEADLINE,
            words,
            command=True,
            asks_key=self._holders.are_any(),
            signs_in=self._entrance.is_open(),
        )
        return html(page, status, headers=WITH_FORM)

    # ------------------------------------------------------------------------------- the way in

    async def _new_link(self, request: web.Request) -> web.Response:
        """A link for any browser; with `?user=same` for those of the user who asks, where that is seen."""
        wanted = request.query.get("user")
        if wanted not in (None, SAME_USER):
            raise web.HTTPBadRequest(reason=f"user is {SAME_USER}, or left out")
        user = await _user(request) if wanted else None
        token = self._sessions.new_link(self._holder_of(request), user)
        return json_answer({"path": f"{FOLDER}open/{token}", "seconds": LINK_SECONDS})

    async def _open_with_key(self, request: web.Request) -> web.Response:
        """Begin a session with the client key of a form; the gateway's own opens nothing here."""
        secret = str((await _form(request)).get("key", ""))
        holder = self._holders.admit(secret.strip())
        if isinstance(holder, Caller):
            return entered(request, self._sessions.begin(holder))
        words = holder.spoken(self._sources.clock()) if holder else "That is no client key of this gateway."
        return self._closed(words, 403)

    async def _follow_link(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        link = self._sessions.link(token)
        if link is not None and link.user is not None and (user := await _user(request)) != link.user:
            return await _refused_link(link, user)
        cookie = self._sessions.redeem(token)
        if cookie is None:
            page = closed_page("This link is no longer good", f"Each works once. {_OPEN}", command=True)
            return html(page, 410)
        return entered(request, cookie)

    async def _leave(self, request: web.Request) -> web.Response:
        """End the session of a page without scripts, which sends its token in a form."""
        session, csrf = self._session(request), str((await _form(request)).get("csrf", ""))
        if session is None or not is_right(session, csrf):
            return refused("Only the page itself can do this. Reload it.", 403)
        self._sessions.end(session)
        return web.Response(status=303, headers={**HEADERS, "Location": "/"})

    async def _close(self, request: web.Request, session: Session) -> web.Response:
        self._sessions.end(session)
        response = json_answer({"message": "Closed."})
        response.del_cookie(cookie_name(request), path="/")
        return response

    def _session(self, request: web.Request) -> Session | None:
        session = self._sessions.find(request.cookies.get(cookie_name(request)))
        return session if session is not None and self._is_open(session) else None

    def _is_open(self, session: Session) -> bool:
        """Whether it has not ended; that of a person who may not see this any more ends now."""
        if not self._entrance.still_lets_in(session):
            self._sessions.end(session)
        return self._sessions.is_open(session)

    def _reading(self, handler: OfSession) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            session = self._session(request)
            if session is None:
                return refused("The session has ended.", 401)
            if session.holder is not None:
                return refused("The holder of a client key sees its own page alone.", 403)
            return await handler(request, session)

        return handle

    def _changing(self, handler: OfSession) -> Handler:
        """Only for the session's own page: the browser says so, and the page knows its token."""

        async def handle(request: web.Request, session: Session) -> web.StreamResponse:
            own = request.headers.get("Origin", "").partition("://")[2] == request.host
            if not own or not is_right(session, request.headers.get(CSRF_HEADER, "")):
                return refused("Only the dashboard itself can do this. Reload it.", 403)
            try:
                return await handler(request, session)
            except KiroAuthError as error:
                return refused(error.failure.spoken(self._sources.clock()), 409)

        return self._reading(handle)

    # ---------------------------------------------------------------------------- what it shows

    async def _events(self, request: web.Request, session: Session) -> web.StreamResponse:
        return await self.live.follow(request, lambda: self._is_open(session))

    async def _spending(self, request: web.Request, _: Session) -> web.Response:
        wanted = request.query.get("by")
        by: spending.Dimension = next(
            (dimension for dimension in spending.DIMENSIONS if dimension == wanted), "model"
        )
        span = request.query.get("span", "")
        span = span if span in spending.SPANS else "month"
        try:
            ledger, now = self._sources.ledger, self._sources.clock()
            return json_answer(await asyncio.to_thread(spending.chart, ledger, by, span, now))
        except KiroAuthError as error:
            return refused(error.failure.spoken(self._sources.clock()), 409)

    async def _sign_in_status(self, request: web.Request, _: Session) -> web.Response:
        status = self._actions.sign_in_status(request.match_info["id"])
        return refused("There is no such sign-in.", 404) if status is None else json_answer(status)

    # ----------------------------------------------------------------------------- what it does

    async def _act(self, request: web.Request, _: Session) -> web.Response:
        account = next((a for a in self._sources.accounts() if a.id == request.match_info["id"]), None)
        if account is None:
            return refused("The account is not there any more.", 404)
        action = request.match_info["action"]
        if action == "sign-in":
            return json_answer(await self._actions.sign_in(account))
        act = self._change(action)
        if act is None:
            return refused("There is no such action.", 404)
        return json_answer({"message": line(await act(account))})

    def _change(self, action: str) -> Callable[[Account], Awaitable[str]] | None:
        changes: dict[str, Callable[[Account], Awaitable[str]]] = {
            "enable": self._actions.enable,
            "disable": self._actions.disable,
            "verify": self._actions.verify,
        }
        return changes.get(action)


async def _user(request: web.Request) -> int | None:
    """The id of the user of this machine whose program sends the request, where that is seen."""
    ends = [request.get_extra_info(name) for name in ("peername", "sockname")]
    return await asyncio.to_thread(caller, *ends)


async def _refused_link(link: Link, user: int | None) -> web.Response:
    """The answer to a program of another user; the log has the first one."""
    if not link.is_told:
        link.is_told = True
        log.warning(
            "%s followed a link to the dashboard that is not for its user, and was refused",
            await asyncio.to_thread(whose, user),  # names of users may come over a network
            extra=noted("dashboard", user=user),
        )
    return html(closed_page("This link is for another user", _OF_ANOTHER_USER), 403)


async def _file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in STATIC:
        return refused("There is no such file.", 404)
    headers = {**HEADERS, "Cache-Control": "no-cache"}
    return web.Response(body=_content(name), content_type=STATIC[name], charset="utf-8", headers=headers)


@cache
def _content(name: str) -> bytes:
    from importlib.resources import files  # takes longer to import than the rest of this room

    return (files("kiro_auth.dashboard") / "static" / name).read_bytes()


async def _form(request: web.Request) -> Mapping[str, Any]:
    """The fields of a small form; none of what is something else."""
    if request.content_type != _FORM or (request.content_length or _LONGEST_FORM) >= _LONGEST_FORM:
        return {}
    return await request.post()
