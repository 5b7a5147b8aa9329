"""The name of one request: in its answer, in the log and in the ledger."""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web

REQUEST_ID: Final = web.RequestKey("request_id", str)
"""Under which the application keeps it."""
_HEADERS: Final = ("x-request-id", "request-id")
"""Of every answer, failures too.  OpenAI's SDKs show their users the first, Anthropic's the second."""


def new_request_id() -> str:
    """One that no other request has."""
    return f"req_{secrets.token_hex(12)}"


def naming(request_id: str) -> dict[str, str]:
    """The headers that tell a client the name of its request."""
    return dict.fromkeys(_HEADERS, request_id)
