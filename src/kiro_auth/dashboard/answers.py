"""The answers of the dashboard: what all of them forbid, and the cookie of a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from kiro_auth.dashboard.sessions import SESSION_SECONDS
from kiro_auth.dashboard.words import line

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
WITH_FORM: Final = {
    **HEADERS,
    "Content-Security-Policy": HEADERS["Content-Security-Policy"].replace(
        "form-action 'none'", "form-action 'self'"
    ),
    "Referrer-Policy": "same-origin",  # else browsers send a form with the origin "null", which is refused
}
"""Of pages with a form."""


def cookie_name(request: web.Request) -> str:
    """Browsers send a cookie to every port of a host, so that each gateway needs a name of its own."""
    return f"kiro-auth-{request.host.rpartition(':')[2] if ':' in request.host else '80'}"


def with_session(request: web.Request, response: web.Response, cookie: str) -> web.Response:
    """The response, which gives the browser the cookie of a session."""
    response.set_cookie(
        cookie_name(request),
        cookie,
        max_age=int(SESSION_SECONDS),
        path="/",
        httponly=True,
        samesite="Strict",
        secure=request.secure,
    )
    return response


def html(text: str, status: int = 200, headers: Mapping[str, str] = HEADERS) -> web.Response:
    """A page."""
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def json_answer(value: Any) -> web.Response:
    """What a page's script asks for."""
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", headers=HEADERS)


def refused(message: str, status: int) -> web.Response:
    """Why a page's script does not get it."""
    body = msgspec.json.encode({"message": line(message)})
    return web.Response(status=status, body=body, content_type="application/json", headers=HEADERS)


def entered(request: web.Request, cookie: str) -> web.Response:
    """To the dashboard, with the cookie of a new session."""
    response = web.Response(status=303, headers={**HEADERS, "Location": "/"})
    return with_session(request, response, cookie)
