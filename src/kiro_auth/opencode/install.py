"""Put the plugin into OpenCode's folder, and take it away.

One file is written; what the user's configuration lists besides is plugin_list's matter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from kiro_auth import __version__
from kiro_auth.atomic import replace_file
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.opencode.models import KNOWN_MODELS
from kiro_auth.opencode.plugin_names import is_kiro

MARK: Final = "// kiro-auth OpenCode plugin "
"""How a file begins that is ours to replace and to remove."""


def configuration_files(folder: Path, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """What OpenCode reads in every project, there or not; a project's own files are the project's."""
    named = environment.get("OPENCODE_CONFIG")
    files = [
        folder / "config.json",
        *(
            place / name
            for place in _places(folder, environment)
            for name in ("opencode.json", "opencode.jsonc")
        ),
        *([Path(named).absolute()] if named else ()),
    ]
    return list({file.resolve(): file for file in files}.values())


def other_kiro_files(folder: Path, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Files besides ours that OpenCode loads without being told, and that are called like a Kiro plugin."""
    folders = [place / name for place in _places(folder, environment) for name in ("plugin", "plugins")]
    files = (file for folder in folders for file in sorted(folder.glob("*.[jt]s")) if is_kiro(file.name))
    ours = shim_path(folder).resolve()
    return list({file.resolve(): file for file in files if file.resolve() != ours}.values())


def _places(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """Where OpenCode 1.14 and 1.18 look for configuration and for plugins, in every project."""
    named = environment.get("OPENCODE_CONFIG_DIR")
    return [folder, Path.home() / ".opencode", *([Path(named).absolute()] if named else ())]


def shim_path(config: Path) -> Path:
    """Where the plugin is; OpenCode loads every file of this folder."""
    return config / "plugin" / "kiro.js"


def has_shim(config: Path) -> bool:
    """Whether the plugin is there, and is ours."""
    path = shim_path(config)
    return path.is_file() and _is_ours(path)


def render(start: Sequence[str]) -> str:
    """The plugin, with the command that starts the gateway."""
    return _rendered(msgspec.json.encode(list(start)).decode())


def render_package() -> str:
    """The plugin as it is published for npm: it looks for the program when it needs it."""
    finder = (files("kiro_auth.opencode") / "program.js").read_text(encoding="utf-8")
    return (
        _rendered("programOnPath()").replace("`kiro-auth install opencode`; removed by `uninstall`", "npm")
        + finder
    )


def _rendered(start: str) -> str:
    text = (files("kiro_auth.opencode") / "shim.js").read_text(encoding="utf-8")
    return (
        text.replace("@VERSION@", __version__)
        .replace('["@START@"]', start)
        .replace('{ "@MODELS@": {} }', msgspec.json.encode(KNOWN_MODELS).decode())
    )


def install_shim(config: Path, start: Sequence[str]) -> Path:
    """Write the plugin.  Raises ConfigFailed when a file that is not ours is in its place."""
    path = shim_path(config)
    if path.exists() and not _is_ours(path):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{path} was not written by this program.",
                next_step="Move it away, then run kiro-auth install opencode again.",
            )
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, render(start).encode())
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def uninstall_shim(config: Path) -> Path | None:
    """Remove the plugin; the path that was removed, None when there was none.  Raises ConfigFailed."""
    path = shim_path(config)
    if not path.exists():
        return None
    if not _is_ours(path):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{path} was not written by this program, so it stays.",
                next_step="Remove it yourself if it should go.",
            )
        )
    try:
        path.unlink()
    except OSError as error:
        raise _unusable(path, error) from error
    return path


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{path} cannot be used: {error.strerror}.",
            next_step="Check the folder's owner and mode.",
        )
    )
