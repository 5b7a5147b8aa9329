"""Other Kiro plugins in the `plugin` list of OpenCode's configuration: found, taken out, put back.

The files are the user's and may hold comments, so an entry is cut out of the text and everything else stays
as it is, byte by byte; what was there before is kept in a copy beside the file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from kiro_auth.atomic import replace_file
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.opencode.changes import Change, read_changes, write_changes
from kiro_auth.opencode.plugin_names import is_kiro

COPY: Final = ".before-kiro-auth-"
"""What the name of a copy has between the file's name and the time."""

_TOKEN: Final = re.compile(
    r'"(?:\\.|[^"\\\n])*"|(?P<comment>//[^\n]*|/\*.*?\*/)|[\[\]{},:]|[^\s\[\]{},:"/]+', re.DOTALL
)
_DEPTH: Final = {"{": 1, "[": 1, "}": -1, "]": -1}
_BLANKS: Final = " \t\r"


class Entry(Struct, frozen=True):
    """One entry of a `plugin` list that would add Kiro a second time."""

    file: Path
    name: str


class _Element(Struct, frozen=True):
    """An entry's place in the text: its begin and end, and where the commas beside it are, if any."""

    name: str
    start: int
    end: int
    comma_before: int | None
    comma_after: int | None


def other_kiro_plugins(configuration: Sequence[Path]) -> list[Entry]:
    """What OpenCode would load beside our plugin.  A file that cannot be read or is broken has none."""
    return [
        Entry(file, element.name)
        for file in configuration
        for element in _elements(_text(file))
        if is_kiro(element.name)
    ]


def take_out(file: Path, state: Path) -> Path | None:
    """Cut the Kiro plugins out of a file's list; the path of the copy, if there were any.

    The change is written down in the folder `state`; of a file that was changed before, the last one counts.
    Raises ConfigFailed and StoreFailed, and leaves everything as it was.
    """
    before = _text(file)
    after = without_kiro(before)
    if after == before:  # another window was faster; a copy of now would take the place of the one before
        return None
    if _parsed(after) != _expected(_parsed(before)):
        raise _failed(f"The list `plugin` in {file} cannot be edited safely.", f"Edit {file} yourself.")
    copy = file.with_name(f"{file.name}{COPY}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    change = Change(str(file.absolute()), str(copy.absolute()))
    known = read_changes(state)
    try:
        write_changes(state, [*(other for other in known if other.file != change.file), change])
        replace_file(copy, before.encode())
        _replace(file, after)
    except OSError as error:
        if _text(file) == before:  # else the copy is all there is of it
            with suppress(OSError):
                copy.unlink(missing_ok=True)
                write_changes(state, known)
        raise _failed(
            f"{file} cannot be changed: {error.strerror}.",
            f"Check owner and mode of its folder and of {state}.",
        ) from error
    return copy


def put_back(state: Path) -> Iterator[tuple[Path, bool]]:
    """Undo what is written down of `take_out`: each file, and whether it is as it was before.

    A file that was changed since then stays as it is, and so does its copy, which is yielded instead.
    Raises ConfigFailed and StoreFailed.
    """
    left = read_changes(state)
    while left:
        change = left.pop(0)
        file, copy = Path(change.file), Path(change.copy)
        before, now = _text(copy), _text(file)
        unchanged = _without_schema(without_kiro(before)) == _without_schema(now)
        try:
            if before and unchanged:
                _replace(file, before)
                copy.unlink()
            write_changes(state, left)
        except OSError as error:
            raise _failed(f"{file} cannot be changed: {error.strerror}.", f"Its copy is {copy}.") from error
        if before and without_kiro(now) == now:  # else the copy is gone, or the user was faster
            yield (file if unchanged else copy), unchanged


def without_kiro(text: str) -> str:
    """The text of a configuration without the Kiro plugins in its list."""
    while found := [element for element in _elements(text) if is_kiro(element.name)]:
        text = _without(text, found[-1])
    return text


def _without_schema(text: str) -> str:
    """OpenCode adds the address of its schema to a file that has none; that is no change of the user's."""
    return re.sub(r'\s*"\$schema"\s*:\s*"[^"]*"\s*,?', "", text, count=1)


def _without(text: str, element: _Element) -> str:
    """With an entry goes its comma, the blanks beside it, and its line if nothing else is on it."""
    start = element.start
    end = element.end if element.comma_after is None else element.comma_after + 1
    while text[end] in _BLANKS:
        end += 1
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].isspace() and text[end] == "\n":
        start, end = line, end + 1
    elif element.comma_after is None:
        while text[start - 1] in _BLANKS:
            start -= 1
    text = text[:start] + text[end:]
    if element.comma_after is None and element.comma_before is not None:
        text = text[: element.comma_before] + text[element.comma_before + 1 :]
    return text


def _elements(text: str) -> list[_Element]:
    """The entries of the top-level list `plugin`, as they stand in the text; a broken text has none."""
    tokens = [found for found in _TOKEN.finditer(text) if not found["comment"]]
    depth = 0
    for at, token in enumerate(tokens):
        depth += _DEPTH.get(token[0], 0)
        following = [found[0] for found in tokens[at + 1 : at + 3]]
        if depth == 1 and token[0] == '"plugin"' and following == [":", "["]:
            return _listed(tokens[at + 3 :])
    return []


def _listed(tokens: Sequence[re.Match[str]]) -> list[_Element]:
    """The elements of a list; none if it has no end.  One may be a list itself: a name, and its options."""
    found: list[_Element] = []
    depth, begin, comma_before = 0, 0, None
    for at, token in enumerate(tokens):
        if depth == 0 and token[0] in ",]":
            if element := tokens[begin:at]:
                words = [found[0][1:-1] for found in element if found[0].startswith('"')]
                comma_after = token.start() if token[0] == "," else None
                name, start, end = next(iter(words), ""), element[0].start(), element[-1].end()
                found.append(_Element(name, start, end, comma_before, comma_after))
            if token[0] == "]":
                return found
            begin, comma_before = at + 1, token.start()
        depth += _DEPTH.get(token[0], 0)
    return []


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str) -> Any:
    import json5  # comments and commas, as OpenCode allows them

    try:
        return json5.loads(text)
    except (ValueError, RecursionError):
        return None


def _expected(document: Any) -> Any:
    if not isinstance(document, dict) or not isinstance(document.get("plugin"), list):
        return object()  # equal to nothing
    kept = [entry for entry in document["plugin"] if not is_kiro(str(_name(entry)))]
    return {**document, "plugin": kept}


def _name(entry: Any) -> Any:
    return entry[0] if isinstance(entry, list) and entry else entry


def _replace(file: Path, text: str) -> None:
    """In one step, with the mode it had; behind a link it is the file that changes, not the link."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o7777
    replace_file(target, text.encode())
    target.chmod(mode)


def _failed(message: str, next_step: str) -> ConfigFailed:
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
