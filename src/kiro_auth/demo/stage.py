"""A folder with a home of its own, and the commands of ours that run there."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kiro_auth.demo.client import Gateway
from kiro_auth.demo.programs import OnWait, Program, started
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import state_folder, this_machine
from kiro_auth.opencode.models import FILE, read_models

STEP_SECONDS: Final = 60.0
"""What one command of ours may take; a few seconds are usual."""
REPORT: Final = "Please report it with the lines above."

_ADDRESS: Final = re.compile(r"http://[^\s/;,]+")
_OBJECT: Final = re.compile(r"^\{.*\}$")
_KEPT: Final = (
    *("PATH", "LANG", "TZ", "USER", "LOGNAME"),
    # Windows' own, without which no program starts there
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT"),
)
"""All that programs of the demonstration see of the user's own variables: no folder, no key, no option."""


class Stage:
    """`environment` is what programs see there; `write` shows text to the person."""

    def __init__(self, folder: Path, write: Callable[[str], None], on_wait: OnWait) -> None:
        self.folder = folder
        self.write = write
        self.on_wait = on_wait
        self.environment = _environment(folder, os.environ)
        self.project = folder / "project"
        for needed in (self.project, folder / "home", folder / "tmp"):
            needed.mkdir()
        self._started = 0

    @property
    def model(self) -> str:
        """The model to begin with, by the list that the sign-in brought."""
        return read_models(state_folder(this_machine(self.environment)) / FILE).usual

    def run(self, *arguments: str) -> None:
        """Run one command of ours and show what it prints, indented.  Raises ConfigFailed."""
        with self.started(*_ourselves(arguments)) as program:
            try:
                for line in program.lines(STEP_SECONDS, self.on_wait):
                    if line.strip():
                        self.write(f"  {line}\n")
            except TimeoutError:
                raise _failed(arguments, f"did not end within {STEP_SECONDS:.0f} seconds") from None
            if program.code:
                raise _failed(arguments, f"ended with exit code {program.code}")

    @contextmanager
    def simulator(self) -> Iterator[str]:
        """A running simulator; its address.  Points all that is started here at it.  Raises ConfigFailed."""
        arguments = ("simulate", "--port", "0", "--auto-approve", "--json")
        with self.started(*_ourselves(arguments)) as program:
            told = json.loads(self._found(_OBJECT, program, arguments))
            self.environment |= told["environment"]
            yield told["url"]

    @contextmanager
    def gateway(self) -> Iterator[Gateway]:
        """A running gateway.  Raises ConfigFailed."""
        key = secrets.token_urlsafe(24)
        self.environment["KIRO_GATEWAY_KEY"] = key
        arguments = ("serve", "--port", "0")
        with self.started(*_ourselves(arguments)) as program:
            yield Gateway(self._found(_ADDRESS, program, arguments), key, self.model)

    @contextmanager
    def started(self, *command: str) -> Iterator[Program]:
        """A program that works in the project; it ends with the block.  Raises OSError."""
        self._started += 1
        output = self.folder / f"output-{self._started}"
        with started(command, self.environment, self.project, output) as program:
            yield program

    def _found(self, what: re.Pattern[str], program: Program, arguments: tuple[str, ...]) -> str:
        """What it says when it is ready, whatever else it says before.  Raises ConfigFailed."""
        try:
            for line in program.lines(STEP_SECONDS, self.on_wait):
                if found := what.search(line):
                    return found[0]
        except TimeoutError:
            raise _failed(arguments, f"was not ready within {STEP_SECONDS:.0f} seconds") from None
        self.write("".join(f"  {line}\n" for line in program.said().splitlines()))
        raise _failed(arguments, f"ended with exit code {program.code}")


def _ourselves(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-u", "-m", "kiro_auth", *arguments]


def _environment(folder: Path, outside: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in outside.items() if _is_kept(name.upper())}
    folders = {
        "HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "XDG_DATA_HOME": "data",
        "XDG_CACHE_HOME": "cache", "XDG_RUNTIME_DIR": "tmp", "TMPDIR": "tmp", "TEMP": "tmp", "TMP": "tmp",
        "USERPROFILE": "home", "APPDATA": "config", "LOCALAPPDATA": "state",
    }  # fmt: skip
    return {
        **kept,
        **{name: str(folder / place) for name, place in folders.items()},
        # However this program was installed, its modules are where this process has them from.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        # The only strategy whose order does not depend on when usage was read.
        "KIRO_ACCOUNT_SELECTION_STRATEGY": "round-robin",
    }


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith("LC_")


def _failed(arguments: tuple[str, ...], what: str) -> ConfigFailed:
    return ConfigFailed(
        Failure(code="KA-INTERNAL", message=f"`kiro-auth {' '.join(arguments)}` {what}.", next_step=REPORT)
    )
