"""Values that a JSON Schema admits, as a model that was told of it writes them: small, and always the same.

Enough of JSON Schema for what clients ask for: objects, lists, words of a list, unions, references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WORDS: Final = "words"
_PLAIN: Final = {"boolean": True, "null": None}
_DEEPEST: Final = 20  # a schema may hold itself


def instance(schema: Any) -> Any:
    """A value of this schema; one of no schema at all is a text."""
    return _value(schema, schema, 0)


def _value(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return _WORDS
    if "const" in schema:
        return schema["const"]
    if words := schema.get("enum"):
        return words[0]
    if isinstance(place := schema.get("$ref"), str):
        return _value(_referred(root, place), root, depth + 1)
    for union in ("anyOf", "oneOf", "allOf"):
        if choices := schema.get(union):
            return _value(choices[0], root, depth + 1)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "array":
            entry = _value(schema.get("items"), root, depth + 1)
            return [entry] * max(1, schema.get("minItems", 1))
        case "object":
            return _object(schema, root, depth)
        case "string":
            return _WORDS.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case str(plain):
            return _PLAIN.get(plain)
    return _object(schema, root, depth) if "properties" in schema else _WORDS


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> dict[str, Any]:
    """All that the schema requires; of one that requires nothing, all that it names."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    wanted = schema.get("required") or list(properties)
    return {name: _value(properties.get(name), root, depth + 1) for name in wanted}


def _referred(root: Any, place: str) -> Any:
    """What `#/$defs/Name` names."""
    found = root
    for name in place.removeprefix("#").strip("/").split("/"):
        found = found.get(name) if name and isinstance(found, Mapping) else found
    return found
