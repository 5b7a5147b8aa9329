"""Where files are on each system; nothing here looks whether they exist.

The plugin for OpenCode finds the first two by the same rules (`npm/src/machine.js`).  One table of cases
tests both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True):
    """What decides where files are: `system` as in `sys.platform`, the home, the environment."""

    system: str
    home: Path
    environment: Mapping[str, str]

    def folder(self, variable: str, *usual: str) -> Path:
        """The folder that an environment variable names, else the usual one below the home."""
        named = self.environment.get(variable)
        return Path(named) if named else self.home.joinpath(*usual)


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine that this process runs on."""
    home = None if sys.platform == "win32" else environment.get("HOME")
    return Machine(sys.platform, Path(home) if home else Path.home(), environment)


def config_folder(machine: Machine | None = None) -> Path:
    """Where the original plugin keeps its files, and this program too."""
    machine = machine or this_machine()
    if machine.system == "win32":
        return machine.folder("APPDATA", "AppData", "Roaming") / "opencode"
    return machine.folder("XDG_CONFIG_HOME", ".config") / "opencode"


def state_folder(machine: Machine | None = None) -> Path:
    """Where the gateway says where it listens, and keeps locks and logs."""
    machine = machine or this_machine()
    if machine.system == "win32":
        return machine.folder("LOCALAPPDATA", "AppData", "Local") / "kiro-auth"
    return machine.folder("XDG_STATE_HOME", ".local", "state") / "kiro-auth"


def opencode_folder(machine: Machine | None = None) -> Path:
    """Where OpenCode keeps its own configuration: `~/.config/opencode` on every system, Windows too."""
    machine = machine or this_machine()
    return machine.folder("XDG_CONFIG_HOME", ".config") / "opencode"


def in_folder(path: str, folder: str | None = None) -> str:
    """The path, which if it is relative counts from `folder`, else from the one that this process is in.

    It stays as it is where that folder is no more.
    """
    if os.path.isabs(path):
        return path
    try:
        return os.path.join(folder or os.getcwd(), path)
    except FileNotFoundError:
        return path
