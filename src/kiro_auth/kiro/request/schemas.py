"""Make the JSON Schema of a tool acceptable to the service, loosening it no more than needed.

The service refuses unions at the root ("input_schema does not support oneOf, allOf, or anyOf at the top
level", confirmed by the vendor's staff) and a root that is no object (reason TOOL_SCHEMA_INVALID in the model
of the official streaming client 1.0.45).  References, nested unions, `additionalProperties`, `const` and an
empty `required` are what several open clients take out (2026); not each of them is proven to be refused.

A copy is made; the client checks calls against its own schema all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]

_DROPPED: Final = frozenset(
    {"$schema", "$id", "$ref", "$defs", "definitions", "$comment", "$anchor", "additionalProperties"}
)
_UNIONS: Final = ("anyOf", "oneOf")
_DEEPEST: Final = 64
_MOST: Final = 20_000
"""Bounds of ours for depth and parts: references that name each other can stand for a schema without end."""


def acceptable(schema: Mapping[str, Any]) -> Schema:
    """The schema as the service takes it: its root is an object, with properties."""
    root = _Rewriter(schema).rewritten(schema)
    return {**root, "type": "object", "properties": root.get("properties", {})}


class _Rewriter:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _MOST

    def rewritten(self, schema: Any, path: tuple[str, ...] = (), depth: int = 0) -> Any:
        """One part of the tree; `path` holds the references followed so far, to cut recursion."""
        if not isinstance(schema, Mapping | list):
            return schema
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return {}
        if isinstance(schema, list):
            return [self.rewritten(part, path, depth + 1) for part in schema]
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in path:
                return {}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            whole = {**_target(reference, self._root), **beside}
            return self.rewritten(whole, (*path, reference), depth + 1)
        rewritten: Schema = {}
        for name, value in schema.items():
            if name == "properties" and isinstance(value, Mapping):
                rewritten[name] = {key: self.rewritten(part, path, depth + 1) for key, part in value.items()}
            elif name == "const":
                rewritten["enum"] = [value]
            elif name in ("enum", "default", "examples"):
                rewritten[name] = value
            elif name not in _DROPPED:
                rewritten[name] = self.rewritten(value, path, depth + 1)
        return _tidy(_without_unions(_tidy(rewritten)))


def _target(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a local reference (`#/$defs/x`) names; anything for others, because nothing is fetched."""
    target: Any = root if reference.startswith("#") else {}
    for step in reference.lstrip("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name, {}) if isinstance(target, Mapping) else {}
    return target if isinstance(target, Mapping) else {}


def _without_unions(schema: Schema) -> Schema:
    parts = schema.pop("allOf", None)
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            schema = _both(schema, part)
    for word in _UNIONS:
        branches = schema.pop(word, None)
        if isinstance(branches, list):
            schema = _both(schema, _either([b for b in branches if isinstance(b, dict)]))
    return schema


def _both(one: Schema, other: Schema) -> Schema:
    """What holds when both hold, as far as objects go."""
    merged = {**other, **one}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**other["properties"], **one["properties"]}
    required = [*(one.get("required") or ()), *(other.get("required") or ())]
    if required:
        merged["required"] = required
    return merged


def _either(branches: list[Schema]) -> Schema:
    """The narrowest plain schema that allows every branch."""
    branches = [branch for branch in branches if branch.get("type") != "null"]
    if len(branches) == 1:
        return branches[0]
    if branches and all("enum" in branch for branch in branches):
        return {"enum": [value for branch in branches for value in branch["enum"]]}
    if branches and all(branch.get("type") == "object" or "properties" in branch for branch in branches):
        properties: Schema = {}
        for branch in branches:
            properties = {**branch.get("properties", {}), **properties}
        common = [
            name
            for name in branches[0].get("required") or ()
            if all(name in (branch.get("required") or ()) for branch in branches)
        ]
        return {"type": "object", "properties": properties, "required": common}
    kinds = {branch.get("type") for branch in branches}
    return {"type": kinds.pop()} if len(kinds) == 1 and isinstance(next(iter(kinds)), str) else {}


def _tidy(schema: Schema) -> Schema:
    """The same without keywords of a shape that JSON Schema does not know, and with one type or none."""
    for name, shape in (("properties", dict), ("enum", list)):
        if not isinstance(schema.get(name), shape):
            schema.pop(name, None)
    kinds = schema.pop("type", None)
    named = [kind for kind in kinds if kind != "null"] if isinstance(kinds, list) else [kinds]
    if len(named) == 1 and isinstance(named[0], str):
        schema["type"] = named[0]
    required = schema.pop("required", None)
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    if names:
        schema["required"] = list(dict.fromkeys(names))
    return schema
