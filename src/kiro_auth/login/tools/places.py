"""Where other programs keep their sign-ins, on each system; nothing here looks whether they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kiro_auth.folders import Machine

SQLITE: Final = "data.sqlite3"


def command_line_stores(machine: Machine, tool: str) -> Iterator[Path]:
    """The databases of kiro-cli, or of amazon-q, its ancestor, best first."""
    if tool == "kiro-cli":
        named = (machine.environment.get(variable) for variable in ("KIROCLI_DB_PATH", "KIRO_CLI_DB_FILE"))
        yield from (Path(path) for path in named if path)
    for folder in _data_folders(machine):
        yield folder / tool / SQLITE


def former_store(machine: Machine, tool: str) -> Path | None:
    """The database that earlier versions used, where it was another one than now."""
    folders = _data_folders(machine)
    return folders[1] / tool / SQLITE if len(folders) > 1 else None


def _data_folders(machine: Machine) -> list[Path]:
    if machine.system == "darwin":
        return [machine.home / "Library" / "Application Support"]
    if machine.system == "win32":
        local = machine.folder("LOCALAPPDATA", "AppData", "Local")
        return [local, machine.folder("APPDATA", "AppData", "Roaming")]  # the second is where it was
    return [machine.folder("XDG_DATA_HOME", ".local", "share")]


def ide_tokens(machine: Machine) -> list[Path]:
    """The token files of Kiro's IDE; beside them stand its client registrations."""
    home = machine.folder("USERPROFILE") if machine.system == "win32" else machine.home
    cache = home / ".aws" / "sso" / "cache"
    return [cache / "kiro-auth-token.json", cache / "kiro-auth-token-cli.json"]


def ide_profiles(machine: Machine) -> list[Path]:
    """Where the IDE notes which Kiro profile was chosen."""
    if machine.system == "darwin":
        user = machine.home / "Library" / "Application Support" / "Kiro"
    elif machine.system == "win32":
        user = machine.folder("APPDATA", "AppData", "Roaming") / "Kiro"
    else:
        user = machine.folder("XDG_CONFIG_HOME", ".config") / "Kiro"
    storage = user / "User" / "globalStorage"
    return [storage / name / "profile.json" for name in ("kiro.kiroagent", "kiro.kiro-agent", "kiroAgent")]


def foreign(path: Path) -> bool:
    """Whether the file is of another system than this one, as Windows' disks are in WSL: never written."""
    return len(path.parts) > 2 and path.parts[1] == "mnt" and len(path.parts[2]) == 1
