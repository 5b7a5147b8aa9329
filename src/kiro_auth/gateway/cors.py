"""What a browser's engine wants to hear before a program in it may read our answers (the Fetch standard).

Only for the origins that `allow_origin` lets in; for all others the guard refuses the request.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

_SECONDS: Final = "600"
"""How long the engine need not ask again."""


def is_preflight(request: web.Request) -> bool:
    """Whether an engine asks if a program may send a request; it sends no key with that."""
    asks = request.method == "OPTIONS" and "Origin" in request.headers
    return asks and "Access-Control-Request-Method" in request.headers


def answer_to_preflight(request: web.Request) -> web.Response:
    """Yes, to whatever it asked."""
    headers = {"Access-Control-Allow-Methods": "GET, HEAD, POST", "Access-Control-Max-Age": _SECONDS}
    if wanted := request.headers.get("Access-Control-Request-Headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    if "Access-Control-Request-Private-Network" in request.headers:  # Chromium, of a page from elsewhere
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


def let_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let the program at the request's origin read the answer and its headers."""
    response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    response.headers["Access-Control-Expose-Headers"] = "*"
    response.headers["Vary"] = "Origin"
