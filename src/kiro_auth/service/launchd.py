"""The service as an agent of launchd, on macOS.

Format: launchd.plist(5).  The verbs of `launchctl` are those of macOS 10.11 and newer.
"""

from __future__ import annotations

import os
import plistlib
from pathlib import Path
from typing import Final

from kiro_auth.atomic import replace_file
from kiro_auth.failures import ConfigFailed
from kiro_auth.folders import Machine
from kiro_auth.service.manager import outcome, told
from kiro_auth.service.program import Program

LABEL: Final = "kiro-auth.gateway"
_UNAVAILABLE: Final = "launchd does not take the service"
_REMEDY: Final = "Start kiro-auth serve in a terminal that stays."


def plist(program: Program) -> bytes:
    """The agent's file."""
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": list(program.command),
            "EnvironmentVariables": dict(program.variables),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 5,
            "ProcessType": "Interactive",  # else macOS slows it down when nothing is clicked
            "Umask": 0o077,
        }
    )


class Launchd:
    """The launchd of the user's session."""

    starts_again = True
    advice: str | None = None

    def __init__(self, machine: Machine) -> None:
        self._path: Path = machine.home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
        self._session = f"gui/{os.geteuid()}" if hasattr(os, "geteuid") else "gui"
        self._service = f"{self._session}/{LABEL}"

    @property
    def place(self) -> str:
        """The agent's file."""
        return str(self._path)

    def is_installed(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def is_running(self) -> bool:
        """Whether launchd says that it runs."""
        done = outcome(("launchctl", "print", self._service))
        return done is not None and done.returncode == 0 and "state = running" in done.stdout

    def install(self, program: Program) -> None:
        """Write the file, and have it loaded anew; where that fails nothing is left."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        outcome(("launchctl", "bootout", self._service))
        replace_file(self._path, plist(program))
        try:
            told(("launchctl", "bootstrap", self._session, str(self._path)), _UNAVAILABLE, _REMEDY)
        except ConfigFailed:
            self._path.unlink()
            raise

    def uninstall(self) -> None:
        """Have it unloaded, which ends it, and remove the file."""
        outcome(("launchctl", "bootout", self._service))
        self._path.unlink(missing_ok=True)
