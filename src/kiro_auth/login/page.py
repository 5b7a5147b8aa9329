"""The page on this machine that shows a sign-in: code, link, QR code, and how it goes.

It is a convenience beside the terminal, which shows all of that but the QR code: where no port is free there
is no page, and the sign-in goes on.  It holds no secrets, and nobody else's page can read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Any, Final

import msgspec
from aiohttp import web

from kiro_auth.login.device_flow import Prompt

HOST: Final = "127.0.0.1"
LAST_LOOK_SECONDS: Final = 3.0
"""How long the page is still served after the end, so that the browser hears of it."""
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SignInPage:
    """One sign-in's page.  `done` and `failed` say how it ended."""

    def __init__(self, prompt: Prompt, sock: socket.socket) -> None:
        self._prompt = prompt
        self._sock = sock
        self._port = sock.getsockname()[1]
        self._path = secrets.token_urlsafe(16)
        self._state = {"status": "waiting", "message": ""}
        self._heard = asyncio.Event()
        self._looked = False

    @property
    def url(self) -> str:
        """Its address, which nobody can guess."""
        return f"http://{HOST}:{self._port}/{self._path}/"

    def done(self, name: str) -> None:
        """The sign-in is complete, as this account."""
        self._state = {"status": "done", "message": f"You are signed in as {name}. You can close this page."}

    def failed(self, reason: str) -> None:
        """The sign-in has failed, for this reason."""
        self._state = {"status": "failed", "message": reason}

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get(f"/{self._path}/", self._page), web.get(f"/{self._path}/state", self._tell)])
        return app

    async def ended(self) -> None:
        """Give a browser that shows the page the time to hear how it ended."""
        if self._looked and self._state["status"] != "waiting":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK_SECONDS):
                    await self._heard.wait()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        # A page elsewhere could point a name of its own at this machine.
        if request.host not in (f"{HOST}:{self._port}", f"localhost:{self._port}"):
            raise web.HTTPForbidden(text="This page is for this machine only.")
        response: web.StreamResponse = await handler(request)
        response.headers.update(_HEADERS)
        return response

    async def _page(self, _: web.Request) -> web.Response:
        self._looked = True
        nonce = secrets.token_urlsafe(12)
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            text=rendered(self._prompt, nonce),
            content_type="text/html",
            headers={"Content-Security-Policy": policy},
        )

    async def _tell(self, _: web.Request) -> web.Response:
        if self._state["status"] != "waiting":
            self._heard.set()
        return web.Response(body=msgspec.json.encode(self._state), content_type="application/json")


@contextlib.asynccontextmanager
async def served(prompt: Prompt, first_port: int, ports: int) -> AsyncIterator[SignInPage | None]:
    """The page at the first free port, while the block lasts; None where all are taken."""
    sock = _free(first_port, ports)
    if sock is None:
        yield None
        return
    page = SignInPage(prompt, sock)
    runner = web.AppRunner(page.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    try:
        yield page
        await page.ended()
    finally:
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


def rendered(prompt: Prompt, nonce: str) -> str:
    """The page's text; nothing in it is taken for markup that was not meant so."""
    import segno

    until = time.strftime("%H:%M", time.localtime(prompt.expires_at))
    qr = segno.make(prompt.url, error="m").svg_inline(scale=5, svgclass=None, lineclass=None, omitsize=False)
    values = {
        "@NONCE@": nonce,
        "@URL@": html.escape(prompt.url, quote=True),
        "@CODE@": html.escape(prompt.code),
        "@SPELLED@": html.escape(" ".join(prompt.code.replace("-", "")), quote=True),
        "@UNTIL@": html.escape(until),
        "@QR@": qr.replace("<svg", '<svg role="img" aria-label="QR code of the page of AWS"', 1),
    }
    text = (files("kiro_auth.login") / "page.html").read_text(encoding="utf-8")
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
