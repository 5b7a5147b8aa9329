"""What `kiro-auth doctor` looks at in OpenCode: the plugin, the release, the catalogue of models."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kiro_auth import __version__
from kiro_auth.cli.finding import Finding
from kiro_auth.json_values import NotJson, as_words, decoded
from kiro_auth.launch import start_command
from kiro_auth.opencode import places
from kiro_auth.opencode.catalogue import kiro_listing
from kiro_auth.opencode.install import MARK, has_shim, install_shim, shim_path
from kiro_auth.opencode.plugin_list import hiding_entry, other_kiro_plugins
from kiro_auth.opencode.release import Found, generation, standing

INSTALL: Final = "kiro-auth install opencode"
_DISABLED: Final = re.compile(r'"disabled_providers"\s*:\s*\[([^\]]*)\]')
_ENABLED: Final = re.compile(r'"enabled_providers"\s*:\s*\[([^\]]*)\]')
_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA: Final = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')
_PUT_IN: Final = re.compile(r"\{(?:env|file):[^}]*\}")
"""What OpenCode replaces before it reads the text as JSON."""
_START: Final = re.compile(r"^const START = (\[.*\]);$", re.MULTILINE)


def plugin(found: Found) -> Iterator[Finding]:
    """Whether OpenCode will load the plugin, and only this one."""
    folder = places.plugin_folder(generation(found))
    texts = {
        file: file.read_text(encoding="utf-8-sig", errors="replace")
        for file in places.configuration_files(generation(found))
        if file.is_file()
    }
    listed = other_kiro_plugins(list(texts))
    loaded = places.other_kiro_files(generation(found))
    if has_shim(folder):
        yield _shim(folder)
        for entry in listed:
            remedy = f"{INSTALL} takes it out, and keeps a copy."
            yield Finding("plugin", "warning", f"{entry.file} loads {entry.name} as well.", remedy)
        yield from _hidden(texts)
        yield from _switched_off(texts, generation(found))
    else:
        for entry in listed:
            remedy = f"{INSTALL} takes its place, unless it is this program's own package."
            yield Finding("plugin", "ok", f"{entry.file} loads {entry.name}. {remedy}")
        yield from _no_shim(folder, used=bool(texts), replaced=bool(listed or loaded))
    for path in loaded:
        what = f"{places.loader(path)} loads {path}, which is called like another Kiro plugin."
        yield Finding("plugin", "warning", what, "If it is one, move it away.")
    yield from _broken(texts)


def opencode(found: Found) -> Iterator[Finding]:
    """Which release is on the PATH, and what is known of the plugin in it."""
    installed = any(map(has_shim, places.plugin_folders()))
    if found is None:
        if installed:
            what = "there is no program opencode on the PATH, so its release was not looked at"
            yield Finding("opencode", "ok", what)
        return
    told = standing(found)
    level = "warning" if told.level == "fault" and not installed else told.level
    yield Finding("opencode", level, told.message, told.remedy)


def catalogue(found: Found) -> Iterator[Finding]:
    """Whether the catalogue of models that OpenCode keeps here has a provider kiro too."""
    listing = kiro_listing()
    if listing is None:
        return
    what = (
        f"OpenCode's catalogue of models ({listing.file}) lists a provider kiro with {listing.models} models"
    )
    if has_shim(places.plugin_folder(generation(found))):
        told = f"{what}; the plugin's models take their place, so none stands twice"
        yield Finding("catalogue", "ok", told)
    else:
        told = f"{what}. They do not work without the plugin."
        yield Finding("catalogue", "warning", told, INSTALL)


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
    found = _START.search(text)
    try:
        command = as_words(decoded(found[1])) if found else ()
    except NotJson:
        return None
    return command[0] if command and not shutil.which(command[0]) else None


def _hidden(texts: Mapping[Path, str]) -> Iterator[Finding]:
    """Settings of OpenCode that keep the provider out."""
    for file, commented in texts.items():
        text = _without_comments(commented)
        disabled, enabled = _DISABLED.search(text), _ENABLED.search(text)
        if (disabled and '"kiro"' in disabled[1]) or (enabled and '"kiro"' not in enabled[1]):
            which = "disabled" if disabled and '"kiro"' in disabled[1] else "enabled"
            what = f"{which}_providers in {file} hides the provider kiro."
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
        try:
            json.loads(_without_comments(text) or "{}", strict=False)
        except json.JSONDecodeError as error:
            what = f"{file} is not JSON: see line {error.lineno}, column {error.colno}."
            yield Finding("plugin", "warning", what, f"Correct {file}.")


def _without_comments(text: str) -> str:
    """Plain JSON of what OpenCode takes, every character of it at its place."""
    text = _COMMENT.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)
    text = _LAST_COMMA.sub(lambda found: found[1] or " ", text)
    return _PUT_IN.sub(lambda found: "0".ljust(len(found[0])), text)
