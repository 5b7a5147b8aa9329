"""The addresses of the three APIs, however a client's base URL was written.

People give a client a base URL with `/v1` or without, with a slash at its end or without, and the client adds
what it thinks is missing.  A `/v1` that is missing or stands twice, and a slash too many, change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from itertools import dropwhile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kiro_auth.surfaces.surface import Surface

MESSAGES: Final = "/v1/messages"
COMPACT: Final = "/v1/responses/compact"
"""Where the Responses API compacts a history."""
_ROOM: Final = "kiro_auth.surfaces"


class ByNeed(Mapping[str, "Surface"]):
    """The API of each address, by its module, which is imported once somebody asks for it."""

    def __init__(self, modules: Mapping[str, str]) -> None:
        self._modules = modules
        self._imported: dict[str, Any] = {}

    def __getitem__(self, address: str) -> Surface:
        if address not in self._imported:
            self._imported[address] = import_module(f"{_ROOM}.{self._modules[address]}")
        surface: Surface = self._imported[address]
        return surface

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


_MODULES: Final = {
    MESSAGES: "anthropic.messages",
    "/v1/chat/completions": "openai.chat",
    "/v1/responses": "openai.responses",
}
SURFACES: Final = ByNeed(_MODULES)
"""The three APIs."""
APIS: Final = ByNeed({**_MODULES, COMPACT: "openai.compact"})
"""Whatever is answered by a model."""
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
        return APIS[COMPACT]
    return SURFACES[next((begin for begin in SURFACES if address.startswith(begin)), MESSAGES)]
