"""The entries of the lists `plugin` and `plugins` in a configuration of OpenCode, as they stand in its text.

`plugin` is the key of 1.x, `plugins` that of 2.x, which reads both.  The text is JSON that may have comments
and commas before a bracket.  An entry is a name, a list of a name and its options, or an object with the name
as `package`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

Key = Literal["plugin", "plugins"]
KEYS: Final[tuple[Key, ...]] = ("plugin", "plugins")

_TOKEN: Final = re.compile(
    r'"(?:\\.|[^"\\\n])*"|(?P<comment>//[^\n]*|/\*.*?\*/)|[\[\]{},:]|[^\s\[\]{},:"/]+', re.DOTALL
)
_DEPTH: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_BLANKS: Final = " \t\r"

Token = re.Match[str]


class PluginEntry(Struct, frozen=True):
    """An entry, and its place in the text: its begin and end, and where the commas beside it are, if any."""

    key: Key
    name: str
    start: int
    end: int
    comma_before: int | None
    comma_after: int | None


def plugin_entries(text: str) -> list[PluginEntry]:
    """The entries of the lists at the top, in the order of the text; a broken text may have none."""
    tokens = [token for token in _TOKEN.finditer(text) if not token["comment"]]
    entries: list[PluginEntry] = []
    depth = 0
    for at, token in enumerate(tokens):
        depth += _DEPTH.get(token[0], 0)
        following = [token[0] for token in tokens[at + 1 : at + 3]]
        if depth == 1 and following == [":", "["]:
            entries += [
                entry for key in KEYS if token[0] == f'"{key}"' for entry in _listed(key, tokens[at + 3 :])
            ]
    return entries


def without_entry(text: str, entry: PluginEntry) -> str:
    """With an entry goes its comma, the blanks beside it, and its line if nothing else is on it."""
    start = entry.start
    end = entry.end if entry.comma_after is None else entry.comma_after + 1
    while text[end] in _BLANKS:
        end += 1
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].isspace() and text[end] == "\n":
        start, end = line, end + 1
    elif entry.comma_after is None:
        while text[start - 1] in _BLANKS:
            start -= 1
    text = text[:start] + text[end:]
    if entry.comma_after is None and entry.comma_before is not None:
        text = text[: entry.comma_before] + text[entry.comma_before + 1 :]
    return text


def _listed(key: Key, tokens: Sequence[Token]) -> list[PluginEntry]:
    """The entries of a list; none if it has no end."""
    entries: list[PluginEntry] = []
    depth, begin, comma_before = 0, 0, None
    for at, token in enumerate(tokens):
        if depth == 0 and token[0] in ",]":
            if entry := tokens[begin:at]:
                comma_after = token.start() if token[0] == "," else None
                start, end = entry[0].start(), entry[-1].end()
                entries.append(PluginEntry(key, _name(entry), start, end, comma_before, comma_after))
            if token[0] == "]":
                return entries
            begin, comma_before = at + 1, token.start()
        depth += _DEPTH.get(token[0], 0)
    return []


def _name(entry: Sequence[Token]) -> str:
    """What an entry names; empty if it is of no known shape."""
    if entry[0][0] == "{":
        return _package(entry)
    return _string(entry[1] if entry[0][0] == "[" and len(entry) > 1 else entry[0])


def _package(entry: Sequence[Token]) -> str:
    """The value of an object's own key `package`; of several the last counts."""
    name, depth = "", 0
    for at, token in enumerate(entry[:-2]):
        depth += _DEPTH.get(token[0], 0)
        if depth == 1 and token[0] == '"package"' and entry[at + 1][0] == ":":
            name = _string(entry[at + 2])
    return name


def _string(token: Token) -> str:
    try:
        value = json.loads(token[0], strict=False)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""
