"""What a browser's engine wants to hear before a program in it may read our answers (the Fetch standard).

Only for the origins that `allow_origin` lets in; for all others the guard refuses the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kiro_auth.gateway.http.head import Head
from kiro_auth.gateway.http.response import Response

_SECONDS: Final = "600"
"""How long the engine need not ask again."""


def is_preflight(head: Head) -> bool:
    """Whether an engine asks if a program may send a request; it sends no key with that."""
    asks = head.method == "OPTIONS" and "origin" in head.headers
    return asks and "access-control-request-method" in head.headers


def answer_to_preflight(asked: Mapping[str, str]) -> Response:
    """Yes, to whatever these headers asked."""
    headers = {"Access-Control-Allow-Methods": "GET, HEAD, POST", "Access-Control-Max-Age": _SECONDS}
    if wanted := asked.get("access-control-request-headers"):
        headers["Access-Control-Allow-Headers"] = wanted
    if "access-control-request-private-network" in asked:  # Chromium, of a page from elsewhere
        headers["Access-Control-Allow-Private-Network"] = "true"
    return Response(status=204, headers=headers)


def readable(headers: Mapping[str, str]) -> str:
    """Lines that let the program at the request's origin read the answer and its headers."""
    origin = f"Access-Control-Allow-Origin: {headers['origin']}\r\n"
    return f"{origin}Access-Control-Expose-Headers: *\r\nVary: Origin\r\n"
