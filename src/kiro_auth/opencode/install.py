"""Put the plugin into OpenCode's folder, and take it away.

One file is the plugin, for every release; two more in a folder are for the window of 2.x.  What the user's
configuration lists besides is plugin_list's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from kiro_auth.atomic import replace_file
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import make_folder, read_file

MARK: Final = "// kiro-auth OpenCode plugin "
"""How a file begins that is ours to replace and to remove."""
_NO_COMMAND: Final = "const START = null;"
"""Where the plugin has the command that starts the gateway; as published it looks for the program."""


def shim_path(config: Path) -> Path:
    """Where the plugin is; OpenCode loads every file of this folder."""
    return config / "plugin" / "kiro.js"


def has_shim(config: Path) -> bool:
    """Whether the plugin is there, and is ours."""
    path = shim_path(config)
    return path.is_file() and _is_ours(path)


def render(start: Sequence[str]) -> str:
    """The plugin, with the command that starts the gateway."""
    plugin = _generated("kiro.js")
    assert plugin.count(_NO_COMMAND) == 1
    command = msgspec.json.encode(list(start)).decode()
    return plugin.replace(_NO_COMMAND, f"const START = {command};")


def install_shim(config: Path, start: Sequence[str]) -> Path:
    """Write the plugin; the path of its main file.

    Raises ConfigFailed when a file that is not ours is in its place, and has written nothing then.
    """
    texts = {
        shim_path(config): render(start),
        **{path: _generated(path.name) for path in _window_paths(config)},
    }
    for path in texts:
        if path.exists() and not _is_ours(path):
            raise ConfigFailed(
                Failure(
                    code="KA-CONFIG",
                    message=f"{path} was not written by this program.",
                    next_step="Move it away, then run kiro-auth install opencode again.",
                )
            )
    for path, text in texts.items():
        try:
            make_folder(path.parent)
            replace_file(path, text.encode())
        except OSError as error:
            raise _unusable(path, error) from error
    return shim_path(config)


def uninstall_shim(config: Path) -> Path | None:
    """Remove the plugin; the path of its main file, None when there was none.  Raises ConfigFailed."""
    path = shim_path(config)
    if path.exists() and not _is_ours(path):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{path} was not written by this program, so it stays.",
                next_step="Remove it yourself if it should go.",
            )
        )
    removed = [file for file in (path, *_window_paths(config)) if file.exists() and _is_ours(file)]
    for file in removed:
        try:
            file.unlink()
        except OSError as error:
            raise _unusable(file, error) from error
    with suppress(OSError):  # something of the user's is in it, or it is not there
        _window_paths(config)[0].parent.rmdir()
    return path if path in removed else None


def _window_paths(config: Path) -> list[Path]:
    """The part for the window of OpenCode 2.x, which looks for it in a folder; 1.x does not look there."""
    return [config / "plugins" / "kiro-auth" / name for name in ("index.js", "tui.js")]


def _generated(name: str) -> str:
    """A file as `make generate` wrote it."""
    return (files("kiro_auth.opencode") / "generated" / name).read_text(encoding="utf-8")


def _is_ours(path: Path) -> bool:
    try:
        return read_file(path).decode(errors="replace").startswith(MARK)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{path} cannot be used: {reason(error)}.",
            next_step="Check the folder's owner and mode.",
        )
    )
