"""Other Kiro plugins in the lists of OpenCode's configuration: found, taken out, put back; ours hidden there.

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
from kiro_auth.opencode.plugin_entries import KEYS, plugin_entries, without_entry
from kiro_auth.opencode.plugin_names import OUR_ID, is_kiro, is_selected
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import read_file

COPY: Final = ".before-kiro-auth-"
"""What the name of a copy has between the file's name and the time."""


class Entry(Struct, frozen=True):
    """One entry of a list in a file: under `key` it names a plugin or, beginning with `-`, hides some."""

    file: Path
    key: str
    name: str


def other_kiro_plugins(configuration: Sequence[Path]) -> list[Entry]:
    """What OpenCode would load beside our plugin.  A file that cannot be read or is broken has none."""
    return [
        Entry(file, entry.key, entry.name)
        for file in configuration
        for entry in plugin_entries(_text(file))
        if _adds_kiro(entry.key, entry.name)
    ]


def hiding_entry(configuration: Sequence[Path]) -> Entry | None:
    """The entry because of which 2.x does not load our plugin; None if it does.

    Entries count in their order, over all files: `-` before an id, `a.*` or `*` switches off, without it on.
    """
    hidden = None
    for file in configuration:
        for entry in plugin_entries(_text(file)):
            if entry.key == "plugins" and is_selected(OUR_ID, entry.name.removeprefix("-")):
                hidden = Entry(file, entry.key, entry.name) if entry.name.startswith("-") else None
    return hidden


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
        raise _failed(f"The list of plugins in {file} cannot be edited safely.", f"Edit {file} yourself.")
    copy = file.with_name(f"{file.name}{COPY}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    change = Change(str(file.absolute()), str(copy.absolute()))
    changes = read_changes(state)
    try:
        write_changes(state, [*(other for other in changes if other.file != change.file), change])
        replace_file(copy, before.encode())
        _replace(file, after)
    except OSError as error:
        if _text(file) == before:  # else the copy is all there is of it
            with suppress(OSError):
                copy.unlink(missing_ok=True)
                write_changes(state, changes)
        raise _failed(
            f"{file} cannot be changed: {reason(error)}.",
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
            raise _failed(f"{file} cannot be changed: {reason(error)}.", f"Its copy is {copy}.") from error
        if before and without_kiro(now) == now:  # else the copy is gone, or the user has edited it back
            yield (file if unchanged else copy), unchanged


def without_kiro(text: str) -> str:
    """The text of a configuration without the Kiro plugins in its lists."""
    while entries := [entry for entry in plugin_entries(text) if _adds_kiro(entry.key, entry.name)]:
        text = without_entry(text, entries[-1])
    return text


def _adds_kiro(key: str, name: str) -> bool:
    """Whether it would add Kiro a second time.  One with `-` hides; in `plugins` our id means our plugin."""
    return not name.startswith("-") and (key, name) != ("plugins", OUR_ID) and is_kiro(name)


def _without_schema(text: str) -> str:
    """OpenCode adds the address of its schema to a file that has none; that is no change of the user's."""
    return re.sub(r'\s*"\$schema"\s*:\s*"[^"]*"\s*,?', "", text, count=1)


def _text(file: Path) -> str:
    try:
        return read_file(file).decode()
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str) -> Any:
    import json5  # comments and commas, as OpenCode allows them

    try:
        return json5.loads(text)
    except (ValueError, RecursionError):
        return None


def _expected(document: Any) -> Any:
    if not isinstance(document, dict):
        return object()  # equal to nothing
    kept = {
        key: [entry for entry in document[key] if not _adds_kiro(key, _name(entry))]
        for key in KEYS
        if isinstance(document.get(key), list)
    }
    return {**document, **kept}


def _name(entry: Any) -> str:
    if isinstance(entry, dict):
        entry = entry.get("package")
    elif isinstance(entry, list) and entry:
        entry = entry[0]
    return entry if isinstance(entry, str) else ""


def _replace(file: Path, text: str) -> None:
    """In one step, with the mode it had; behind a link it is the file that changes, not the link."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o7777
    replace_file(target, text.encode())
    target.chmod(mode)


def _failed(message: str, next_step: str) -> ConfigFailed:
    return ConfigFailed(Failure(code="KA-CONFIG", message=message, next_step=next_step))
