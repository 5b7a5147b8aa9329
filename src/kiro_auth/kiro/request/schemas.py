"""Make the JSON Schema of a tool acceptable to the service, loosening it no more than needed.

The service refuses unions at the root ("input_schema does not support oneOf, allOf, or anyOf at the top
level", confirmed by the vendor's staff) and a root that is no object (reason TOOL_SCHEMA_INVALID in the model
of the official streaming client 1.0.45).  References, nested unions, `additionalProperties`, `const` and an
empty `required` are what several open clients take out (2026); not each of them is proven to be refused.

A copy is made; the client checks calls against its own schema all the same.

References are the one thing by which a small schema can stand for a huge one, so what they stand for is
bounded.  Where that is not enough, fewer references inside one another are followed, and in the end none:
what they name may then be anything.  Without them the work is linear in the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

Schema = dict[str, Any]

_DROPPED: Final = frozenset(
    {"$schema", "$id", "$ref", "$defs", "definitions", "$comment", "$anchor", "additionalProperties"}
)
_UNIONS: Final = ("anyOf", "oneOf")
_LITERALS: Final = ("enum", "default", "examples")
_DEEPEST: Final = 64
ALLOWANCE: Final = 64 * 1024
"""What the references of one schema may stand for, in characters about: 16,000 tokens of each request."""
_FOLLOWED: Final = (64, 4, 2, 1, 0)
"""How many references are followed inside one another: the first that keeps to the allowance."""
_PART: Final = 16
"""Characters that a part of a schema counts for, beside its words."""


class Acceptable(Struct, frozen=True):
    """The schema as the service takes it.

    `spent` is what its references cost, in characters about, in vain too; `whole`: all of them were followed.
    """

    schema: Schema
    spent: int
    whole: bool


def acceptable(schema: Mapping[str, Any], *, follow: bool = True) -> Acceptable:
    """The schema as the service takes it: its root is an object, with properties.

    `follow` false leaves out whatever a reference names.
    """
    spent = 0
    for followed in _FOLLOWED if follow else _FOLLOWED[-1:]:
        rewriter = _Rewriter(schema, followed)
        try:
            root = rewriter.rewritten(schema)
        except _TooLarge:
            spent += ALLOWANCE
            continue
        made = {**root, "type": "object", "properties": root.get("properties", {})}
        return Acceptable(made, spent + rewriter.spent, rewriter.whole)
    raise AssertionError("without references nothing is too large")


class _TooLarge(Exception):
    """The references stand for more than the allowance."""


class _Rewriter:
    def __init__(self, root: Mapping[str, Any], followed: int) -> None:
        self.spent = 0
        self.whole = True
        self._root = root
        self._followed = followed
        self._targets: dict[str, Mapping[str, Any]] = {}
        self._sizes: dict[int, int] = {}  # of literals, by their identity

    def rewritten(self, schema: Any, path: tuple[str, ...] = (), depth: int = 0) -> Any:
        """One part of the tree; `path` holds the references followed so far, to cut recursion."""
        if path:
            self._spend(schema)
        if not isinstance(schema, Mapping | list):
            return schema
        if depth > _DEEPEST:
            return {}
        if isinstance(schema, list):
            return [self.rewritten(part, path, depth + 1) for part in schema]
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in path:
                return {}
            if len(path) >= self._followed:
                self.whole = False
                return {}
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            whole = {**self._target(reference), **beside}
            return self.rewritten(whole, (*path, reference), depth + 1)
        rewritten: Schema = {}
        for name, value in schema.items():
            if name == "properties" and isinstance(value, Mapping):
                rewritten[name] = {key: self.rewritten(part, path, depth + 1) for key, part in value.items()}
            elif name == "const" or name in _LITERALS:
                if path:
                    self._spend_literal(value)
                rewritten["enum" if name == "const" else name] = [value] if name == "const" else value
            elif name not in _DROPPED:
                rewritten[name] = self.rewritten(value, path, depth + 1)
        return _tidy(_without_unions(_tidy(rewritten)))

    def _target(self, reference: str) -> Mapping[str, Any]:
        if reference not in self._targets:
            self._targets[reference] = _target(reference, self._root)
        return self._targets[reference]

    def _spend(self, part: Any) -> None:
        """Count a part that a reference stands for.  Raises _TooLarge."""
        words = [part] if isinstance(part, str) else part if isinstance(part, Mapping) else ()
        self._count(_PART + sum(map(len, words)))

    def _spend_literal(self, value: Any) -> None:
        if id(value) not in self._sizes:
            self._sizes[id(value)] = _written_size(value)
        self._count(self._sizes[id(value)])

    def _count(self, size: int) -> None:
        self.spent += size
        if self.spent > ALLOWANCE:
            raise _TooLarge


def _written_size(value: Any) -> int:
    try:
        return len(msgspec.json.encode(value))
    except (UnicodeEncodeError, RecursionError):  # what cannot be written so is met with the whole body
        return ALLOWANCE + 1


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
            _add(schema, part)
    for word in _UNIONS:
        branches = schema.pop(word, None)
        if isinstance(branches, list):
            _add(schema, _either([b for b in branches if isinstance(b, dict)]))
    return schema


def _add(schema: Schema, other: Schema) -> None:
    """Make of the schema what holds when both hold, as far as objects go."""
    for name, value in other.items():
        mine: Any = schema.setdefault(name, value)
        if mine is value:
            continue
        if name == "properties":
            for key, part in value.items():
                mine.setdefault(key, part)
        elif name == "required":
            mine.extend(value)


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
            for name, part in branch.get("properties", {}).items():
                properties.setdefault(name, part)
        required = [branch.get("required") or () for branch in branches]
        in_all = set(required[0]).intersection(*required[1:])
        common = [name for name in required[0] if name in in_all]
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
