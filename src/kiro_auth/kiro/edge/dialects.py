"""How a call is said in the service's two dialects, and which answers of it are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kiro_auth.json_values import as_objects
from kiro_auth.kiro.edge.endpoints import Endpoint

REST: Final = {
    "ListAvailableModels": ("GET", "/ListAvailableModels"),
    "ListAvailableProfiles": ("POST", "/List-Available-Profiles"),
    "GetUsageLimits": ("GET", "/getUsageLimits"),
    "InvokeMCP": ("POST", "/mcp"),
}
"""Method and path of each operation in the dialect with paths."""


def add_dialect(headers: dict[str, str], endpoint: Endpoint, operation: str) -> None:
    """Say in the headers which dialect it is, and in the other one which operation."""
    if endpoint.protocol == "rest":
        headers["Content-Type"] = "application/json"
    else:
        headers["Content-Type"] = "application/x-amz-json-1.0"
        headers["X-Amz-Target"] = f"{endpoint.target_prefix}.{operation}"


def in_query(members: Mapping[str, Any]) -> dict[str, str]:
    """The members of a request as those of an address."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in members.items()
    }


def rows(pages: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The rows of all pages of a list."""
    return [row for page in pages for row in as_objects(page.get(name))]
