"""Answers: whole, and failures in an API's own shape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from kiro_auth.failures import Failure
from kiro_auth.gateway.http.response import Response

if TYPE_CHECKING:
    from kiro_auth.conversation import Conversation
    from kiro_auth.surfaces.surface import Surface


def beside(conversation: Conversation) -> dict[str, str]:
    """The headers that tell a client what its API has no place for."""
    if not conversation.not_offered:
        return {}
    listed = ", ".join(conversation.not_offered)
    return {"x-kiro-tools-not-offered": in_header(listed)}


def in_header(text: str) -> str:
    """A client's words as a header can hold them: in one line, of printable ASCII."""
    return text if text.isascii() and text.isprintable() else re.sub("[^ -~]", "?", text)


def failure_response(surface: Surface, failure: Failure, status: int | None = None) -> Response:
    """A failure before any output, in the API's shape; `status`: another than it has there."""
    # A header that it quotes may hold bytes that are no text; they come as halves of characters.
    failure = msgspec.structs.replace(
        failure, message=_as_text(failure.message), next_step=_as_text(failure.next_step or "") or None
    )
    error = surface.encode_failure(failure)
    return Response(error.body, status or error.status, error.headers)


def _as_text(words: str) -> str:
    return words.encode(errors="replace").decode()
