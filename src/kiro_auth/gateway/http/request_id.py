"""The name of one request: in its answer, in the log and in the ledger."""

from __future__ import annotations

import os


def new_request_id() -> str:
    """One that no other request has."""
    return f"req_{os.urandom(12).hex()}"


def naming(request_id: str) -> str:
    """The lines of a head that tell a client the name of its request, in every answer, failures too.

    OpenAI's SDKs show their users the first, Anthropic's the second.
    """
    return f"x-request-id: {request_id}\r\nrequest-id: {request_id}\r\n"
