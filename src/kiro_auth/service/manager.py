"""What starts programs when the user logs in, on each system."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Protocol

from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.service.program import Program

COMMAND_SECONDS = 60


class Manager(Protocol):
    """One of them.  `starts_again`: whether it starts the gateway again that `kiro-auth stop` has ended.

    Every method raises ConfigFailed, with the remedy, where the system does not do what it is told.
    """

    starts_again: bool
    advice: str | None

    @property
    def place(self) -> str:
        """Where its definition of the service is, for people."""
        ...

    def is_installed(self) -> bool:
        """Whether there is a definition."""
        ...

    def is_running(self) -> bool:
        """Whether it runs the gateway now."""
        ...

    def install(self, program: Program) -> None:
        """Define the service, start it now, and from now on whenever the user logs in."""
        ...

    def uninstall(self) -> None:
        """End it, and leave nothing behind."""
        ...


def told(command: Sequence[str], unavailable: str, remedy: str) -> None:
    """Have a command of the system do something.

    Raises ConfigFailed with its last words: `unavailable`, and the `remedy`.
    """
    done = outcome(command)
    if done is None:
        raise _refused(f"{unavailable}: {command[0]} is not on your PATH", remedy)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise _refused(f"{unavailable}: {said[-1].rstrip('.')}", remedy)


def outcome(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a command of the system said; None where it is not there, or takes too long."""
    try:
        return subprocess.run(  # noqa: S603 (the system's own programs)
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            errors="replace",
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None


def _refused(what: str, remedy: str) -> ConfigFailed:
    return ConfigFailed(Failure(code="KA-CONFIG", message=f"{what}.", next_step=remedy))
