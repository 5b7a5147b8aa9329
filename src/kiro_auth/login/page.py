"""The page on this machine that shows a sign-in: code, link, QR code, and how it goes.

It is a convenience beside the terminal, which shows all of that but the QR code: where no port is free there
is no page, and the sign-in goes on.  It holds no secrets, and nobody else's page can read it.

Every tab that shows it is told of each change at once, over a stream that stays open (server-sent events): a
tab in the background is not given the time to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from kiro_auth.login.device_flow import Prompt
from kiro_auth.socket_owners import caller, is_of_this_user, owner, whose
from kiro_auth.tabs import Tabs

HOST: Final = "127.0.0.1"
LAST_LOOK_SECONDS: Final = 3.0
"""How long the page is still served after the end, so that every tab hears of it."""
RENEWAL_SECONDS: Final = 600.0
"""How long an expired code is waited for to be asked for anew; a choice of ours."""
_WAITING: Final = "Waiting for the confirmation…"
_RENEWED: Final = "This is a new code, as the one before has expired. Waiting for its confirmation…"
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Status = Literal["waiting", "expired", "done", "failed", "ended", "elsewhere"]
_LAST: Final[frozenset[Status]] = frozenset({"done", "failed", "ended", "elsewhere"})
"""After these a tab hears no more."""


class State(Struct, frozen=True):
    """What every tab shows.  A tab that shows another `code` begins anew."""

    status: Status
    message: str
    code: str


class SignInPage:
    """One sign-in's page, whatever codes it takes; its methods say how it goes."""

    def __init__(self, prompt: Prompt, sock: socket.socket, terms: str | None = None) -> None:
        self._prompt = prompt
        self._terms = terms
        self._sock = sock
        self._port: int = sock.getsockname()[1]
        self._path = secrets.token_urlsafe(16)
        self._state = State("waiting", _WAITING, prompt.code)
        self._changed = asyncio.Event()
        self._renewal = asyncio.Event()
        self._closed = asyncio.Event()  # set whenever the last tab has gone
        self._loading = False
        self._tabs = Tabs()
        self._is_private = False
        self._on_refused: Callable[[str], None] | None = None

    @property
    def url(self) -> str:
        """Its address, which nobody can guess."""
        return f"http://{HOST}:{self._port}/{self._path}/"

    @property
    def port(self) -> int:
        """Where it is served."""
        return self._port

    @property
    def is_open(self) -> bool:
        """Whether some tab shows it."""
        return self._loading or bool(self._tabs)

    def keep_to_this_user(self, on_refused: Callable[[str], None]) -> None:
        """Show it from now on to programs of this user alone, where the system says whose they are.

        `on_refused` hears in words of the first other one.
        """
        if owner(HOST, self._port) is not None:
            self._is_private, self._on_refused = True, on_refused

    def waiting(self, trouble: str | None = None) -> None:
        """The code waits for its confirmation, at the moment in spite of this trouble."""
        self._tell("waiting", f"{trouble} Still waiting for the confirmation…" if trouble else _WAITING)

    def confirmed(self, message: str) -> None:
        """The code is confirmed, but there is something left to do."""
        self._tell("waiting", message)

    async def expired(self) -> bool:
        """The code has expired; whether a person asks for a new one, here, before long."""
        self._renewal.clear()
        self._tell("expired", "The code has expired before it was confirmed.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RENEWAL_SECONDS):
                await self._renewal.wait()
        return self._renewal.is_set()

    def renewed(self, prompt: Prompt) -> None:
        """There is a new code."""
        self._prompt = prompt
        self._tell("waiting", _RENEWED)

    def done(self, name: str) -> None:
        """The sign-in is complete, as this account."""
        self._tell("done", f"You are signed in as {name}. You can close this page.")

    def failed(self, reason: str) -> None:
        """The sign-in has failed, for this reason."""
        self._tell("failed", reason)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get(f"/{self._path}/", self._page),
                web.get(f"/{self._path}/events", self._events),
                web.post(f"/{self._path}/renew", self._renew),
            ]
        )
        return app

    async def ended(self) -> None:
        """Give every tab the time to hear how it ended; one that ends without a word has been given up."""
        if self._state.status not in _LAST:
            self._tell("ended", "The program has ended, and nobody is signed in. Start it again there.")
        if self.is_open:
            self._closed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK_SECONDS):
                    await self._closed.wait()

    def _tell(self, status: Status, message: str) -> None:
        self._state = State(status, message, self._prompt.code)
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        # A page elsewhere could point a name of its own at this machine.
        if request.host not in (f"{HOST}:{self._port}", f"localhost:{self._port}"):
            raise web.HTTPForbidden(text="This page is for this machine only.")
        if self._is_private:
            await self._refuse_others(request)
        response: web.StreamResponse = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _refuse_others(self, request: web.Request) -> None:
        ends = [request.get_extra_info(name) for name in ("peername", "sockname")]
        user = await asyncio.to_thread(caller, *ends)
        if is_of_this_user(user):
            return
        if self._on_refused is not None:
            on_refused, self._on_refused = self._on_refused, None
            on_refused(await asyncio.to_thread(whose, user))
        raise web.HTTPForbidden(
            text="This page is for the user who signs in, and this browser is of another user of the "
            "machine. The terminal of kiro-auth login shows the link and the code, too."
        )

    async def _page(self, _: web.Request) -> web.Response:
        self._loading = True
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            text=rendered(self._prompt, self._state, nonce, self._terms),
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    async def _renew(self, _: web.Request) -> web.Response:
        self._renewal.set()
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self._loading = False
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        try:
            with self._tabs.followed() as replaced:
                await self._follow(response, replaced)
        finally:
            if not self.is_open:
                self._closed.set()
        return response

    async def _follow(self, response: web.StreamResponse, replaced: asyncio.Event) -> None:
        """Tell one tab of each state, until the last one, or until newer tabs have taken its place."""
        # Where the connection breaks a browser asks again after this many milliseconds.
        await response.write(b"retry: 1000\n\n")
        while True:
            state, changed = self._state, self._changed
            if replaced.is_set():
                message = "A newer tab shows this sign-in. Reload this one to follow it here."
                state = State("elsewhere", message, state.code)
            await response.write(b"data: " + msgspec.json.encode(state) + b"\n\n")
            if state.status in _LAST:
                return
            waits = [asyncio.ensure_future(event.wait()) for event in (changed, replaced)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()


@contextlib.asynccontextmanager
async def served(
    prompt: Prompt, first_port: int, ports: int, terms: str | None = None
) -> AsyncIterator[SignInPage | None]:
    """The page at the first free port, while the block lasts; None where all are taken."""
    sock = _free(first_port, ports)
    if sock is None:
        yield None
        return
    page = SignInPage(prompt, sock, terms)
    # A tab that is closed ends its stream, so that nobody waits for it in the end.
    runner = web.AppRunner(
        page.application(), access_log=None, shutdown_timeout=0.5, handler_cancellation=True
    )
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield page
    finally:
        await page.ended()
        await runner.cleanup()


def _free(first_port: int, ports: int) -> socket.socket | None:
    """A socket at the first free port; it is kept, so that nobody takes the port in between."""
    for port in range(first_port, min(first_port + ports, 65536)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # a port that was used a minute ago is free
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, port))
            sock.listen(8)
        except OSError:
            sock.close()
        else:
            return sock
    return None


def rendered(prompt: Prompt, state: State, nonce: str, terms: str | None) -> str:
    """The page's text; nothing in it is taken for markup that was not meant so."""
    import segno

    until = time.strftime("%H:%M", time.localtime(prompt.expires_at))
    qr = segno.make(prompt.url, error="m").svg_inline(scale=5, svgclass=None, lineclass=None, omitsize=False)
    values = {
        "@NONCE@": nonce,
        "@URL@": html.escape(prompt.url, quote=True),
        "@CODE@": html.escape(prompt.code, quote=True),
        "@SPELLED@": html.escape(" ".join(prompt.code.replace("-", "")), quote=True),
        "@UNTIL@": html.escape(until),
        "@STATUS@": state.status,
        "@MESSAGE@": html.escape(state.message),
        "@TERMS@": f'<p class="quiet" id="terms">{html.escape(terms)}</p>' if terms else "",
        "@QR@": qr.replace("<svg", '<svg role="img" aria-label="QR code of the page of AWS"', 1),
    }
    text = (files("kiro_auth.login") / "page.html").read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
