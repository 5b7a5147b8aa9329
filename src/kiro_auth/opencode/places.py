"""Where OpenCode looks for configuration and plugins, whatever the project; a project's own are its matter.

`generation` is 1 for OpenCode 1.14 to 1.18, 2 for 2.x, None where it is not known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kiro_auth.folders import opencode_folder, this_machine
from kiro_auth.opencode.install import MARK, shim_path
from kiro_auth.opencode.plugin_names import is_kiro
from kiro_auth.regular_files import read_file

DIRECTORY: Final = "OPENCODE_CONFIG_DIR"
"""Names a folder that 1.x reads besides its own, and 2.x instead of it."""
_ENTRY_FILES: Final = ("package.json", "index.ts", "index.js", "server.ts", "server.js")


def plugin_folder(generation: int | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder that the plugin belongs in, so that this generation loads it."""
    named = _named(environment)
    return named if named and generation == 2 else opencode_folder(this_machine(environment))


def plugin_folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Every folder that `plugin_folder` may be."""
    return list(dict.fromkeys(plugin_folder(generation, environment) for generation in (1, 2)))


def configuration_files(
    generation: int | None = None, environment: Mapping[str, str] = os.environ
) -> list[Path]:
    """The files that OpenCode reads, there or not."""
    named = environment.get("OPENCODE_CONFIG")
    places = _places(generation, environment)
    files = [
        *(place / "config.json" for place in places if place == opencode_folder(this_machine(environment))),
        *(place / name for place in places for name in ("opencode.json", "opencode.jsonc")),
        *([Path(named).absolute()] if named else ()),
    ]
    return list({file.resolve(): file for file in files}.values())


def other_kiro_files(
    generation: int | None = None, environment: Mapping[str, str] = os.environ
) -> list[Path]:
    """What OpenCode loads without being told, besides ours, and is called like a Kiro plugin.

    A folder among them is a package, which only 2.x loads.
    """
    ours = {shim_path(plugin_folder(generation, environment)).resolve()}
    return [
        path
        for resolved, path in {path.resolve(): path for path in _loaded(generation, environment)}.items()
        if is_kiro(path.name) and resolved not in ours and not _is_window_part(path)
    ]


def loader(path: Path) -> str:
    """Which OpenCode loads what `other_kiro_files` found."""
    return "OpenCode 2" if path.is_dir() else "OpenCode"


def _loaded(generation: int | None, environment: Mapping[str, str]) -> Iterator[Path]:
    for place in _places(generation, environment):
        for folder in (place / "plugin", place / "plugins"):
            yield from sorted(folder.glob("*.[jt]s"))
            packages = sorted(child for child in folder.glob("*") if child.is_dir())
            yield from (path for path in packages if any((path / name).is_file() for name in _ENTRY_FILES))


def _is_window_part(package: Path) -> bool:
    """Whether it is the folder that belongs to our plugin."""
    try:
        return read_file(package / "index.js").decode(errors="replace").startswith(MARK)
    except OSError:
        return False


def _places(generation: int | None, environment: Mapping[str, str]) -> list[Path]:
    named = _named(environment)
    own = [] if named and generation == 2 else [opencode_folder(this_machine(environment))]
    return [*own, this_machine(environment).home / ".opencode", *([named] if named else ())]


def _named(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(DIRECTORY)
    return Path(named).absolute() if named else None
