"""Words in which the schemas of known tools are written down here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of_type(kind: str, description: str = "") -> dict[str, Any]:
    """A value of that JSON type."""
    return {"type": kind, "description": description} if description else {"type": kind}


def text(description: str = "") -> dict[str, Any]:
    """Text."""
    return of_type("string", description)


def whole(description: str = "") -> dict[str, Any]:
    """A whole number."""
    return of_type("integer", description)


def one_of(*words: str) -> dict[str, Any]:
    """One of these words."""
    return {"type": "string", "enum": list(words)}


def list_of(items: Mapping[str, Any], description: str = "", *, length: int | None = None) -> dict[str, Any]:
    """A list; `length` when it always has so many items."""
    bounds = {} if length is None else {"minItems": length, "maxItems": length}
    return {**of_type("array", description), "items": dict(items), **bounds}


def object_of(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    """An object with these properties, of which the named ones are required."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    return {**schema, "required": list(required)} if required else schema
