"""Whether OpenCode will load the plugin, and only this one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kiro_auth import __version__
from kiro_auth.doctor.finding import Finding
from kiro_auth.json_values import NotJson, as_words, decoded
from kiro_auth.launch import start_command
from kiro_auth.opencode import places
from kiro_auth.opencode.configuration import place_of_error, provider_setting_against_kiro
from kiro_auth.opencode.install import MARK, has_shim, install_shim, shim_path
from kiro_auth.opencode.plugin_list import hiding_entry, other_kiro_plugins
from kiro_auth.opencode.release import Installed, generation

INSTALL: Final = "kiro-auth install opencode"
_START: Final = re.compile(r"^const START = (\[.*\]);$", re.MULTILINE)


def plugin(installed: Installed) -> Iterator[Finding]:
    """Whether OpenCode will load the plugin, and only this one."""
    folder = places.plugin_folder(generation(installed))
    texts = {
        file: file.read_text(encoding="utf-8-sig", errors="replace")
        for file in places.configuration_files(generation(installed))
        if file.is_file()
    }
    listed = other_kiro_plugins(list(texts))
    loaded = places.other_kiro_files(generation(installed))
    if has_shim(folder):
        yield _shim(folder)
        for entry in listed:
            remedy = f"{INSTALL} takes it out, and keeps a copy."
            yield Finding("plugin", "warning", f"{entry.file} loads {entry.name} as well.", remedy)
        yield from _hidden(texts)
        yield from _switched_off(texts, generation(installed))
    else:
        for entry in listed:
            remedy = f"{INSTALL} takes its place, unless it is this program's own package."
            yield Finding("plugin", "ok", f"{entry.file} loads {entry.name}. {remedy}")
        yield from _no_shim(folder, used=bool(texts), replaced=bool(listed or loaded))
    for path in loaded:
        what = f"{places.loader(path)} loads {path}, which is called like another Kiro plugin."
        yield Finding("plugin", "warning", what, "If it is one, move it away.")
    yield from _broken(texts)


def _shim(folder: Path) -> Finding:
    """The plugin as it is written down."""
    path = shim_path(folder)
    text = path.read_text(encoding="utf-8", errors="replace")
    mend: Callable[[], object] = lambda: install_shim(folder, start_command())  # noqa: E731
    if gone := _interpreter_that_is_gone(text):
        return Finding("plugin", "fault", f"the plugin starts {gone}, which is gone.", INSTALL, mend)
    if text.split("\n", 1)[0] != f"{MARK}{__version__}":
        return Finding("plugin", "warning", "the plugin is of another version.", INSTALL, mend)
    return Finding("plugin", "ok", f"{path} is in order")


def _no_shim(folder: Path, *, used: bool, replaced: bool) -> Iterator[Finding]:
    """What is missing where OpenCode is `used`, unless another Kiro plugin has its place."""
    mend: Callable[[], object] = lambda: install_shim(folder, start_command())  # noqa: E731
    elsewhere = [shim_path(other) for other in places.plugin_folders() if has_shim(other)]
    if shim_path(folder).exists():
        what = f"{shim_path(folder)} was not written by this program, and is where its plugin belongs."
        yield Finding("plugin", "warning", what, f"Move it away, then: {INSTALL}")
    elif elsewhere:
        what = f"OpenCode 2 reads {folder}, which {places.DIRECTORY} names, and not {elsewhere[0]}."
        yield Finding("plugin", "fault", what, INSTALL, mend)
    elif not replaced and (used or shutil.which("opencode")):
        yield Finding("plugin", "warning", "OpenCode has no Kiro plugin.", INSTALL, mend)


def _interpreter_that_is_gone(text: str) -> str | None:
    installed = _START.search(text)
    try:
        command = as_words(decoded(installed[1])) if installed else ()
    except NotJson:
        return None
    return command[0] if command and not shutil.which(command[0]) else None


def _hidden(texts: Mapping[Path, str]) -> Iterator[Finding]:
    """Settings of OpenCode that keep the provider out."""
    for file, text in texts.items():
        if setting := provider_setting_against_kiro(text):
            what = f"{setting} in {file} hides the provider kiro."
            yield Finding("plugin", "fault", what, f"Correct {file}.")


def _switched_off(texts: Mapping[Path, str], generation: int | None) -> Iterator[Finding]:
    """An entry in a list `plugins` because of which 2.x does not load the plugin; 1.x has no such entries."""
    if entry := hiding_entry(list(texts)):
        what = f'"{entry.name}" in `{entry.key}` of {entry.file} keeps OpenCode 2 from loading the plugin.'
        remedy = 'Take it out, or add "kiro-auth" behind it.'
        yield Finding("plugin", "fault" if generation == 2 else "warning", what, remedy)


def _broken(texts: Mapping[Path, str]) -> Iterator[Finding]:
    """Configuration that OpenCode cannot read."""
    for file, text in texts.items():
        if place := place_of_error(text):
            what = f"{file} is not JSON: see line {place[0]}, column {place[1]}."
            yield Finding("plugin", "warning", what, f"Correct {file}.")
