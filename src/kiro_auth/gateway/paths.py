"""The addresses of the three APIs, however a client's base URL was written.

People give a client a base URL with `/v1` or without, with a slash at its end or without, and the client adds
what it thinks is missing.  A `/v1` that is missing or stands twice, and a slash too many, change nothing.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import dropwhile
from typing import Final

from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.openai import chat as openai_chat
from kiro_auth.surfaces.openai import compact as openai_compact
from kiro_auth.surfaces.openai import responses as openai_responses
from kiro_auth.surfaces.surface import Surface

SURFACES: Final[dict[str, Surface]] = {
    "/v1/messages": anthropic,
    "/v1/chat/completions": openai_chat,
    "/v1/responses": openai_responses,
}
"""The API of each address."""
COMPACT: Final = "/v1/responses/compact"
"""Where the Responses API compacts a history."""
_BEGINNINGS: Final = ("messages", "chat", "responses", "models")
"""What stands behind `/v1/`."""


@lru_cache(maxsize=32)
def plain(path: str) -> str:
    """The address that a path means: `/v1/messages` for `/messages`, `/v1/v1/messages`, `//v1/messages/`."""
    parts = [part for part in path.split("/") if part]
    behind = list(dropwhile(lambda part: part == "v1", parts))
    if behind and behind[0] in _BEGINNINGS:
        parts = ["v1", *behind]
    return "/" + "/".join(parts)


@lru_cache(maxsize=32)
def surface_at(path: str) -> Surface:
    """The API that a path is of; Anthropic's for those that are of none."""
    address = plain(path)
    if address == COMPACT:
        return openai_compact
    return next((surface for begin, surface in SURFACES.items() if address.startswith(begin)), anthropic)
