"""The service as a unit of systemd for this user, on Linux.

Format: systemd.unit(5), systemd.service(5), and systemd.syntax(7) for quotes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kiro_auth.atomic import replace_file
from kiro_auth.failures import ConfigFailed
from kiro_auth.folders import Machine
from kiro_auth.service.manager import outcome, told
from kiro_auth.service.program import Program

NAME: Final = "kiro-auth.service"
_SYSTEMCTL: Final = ("systemctl", "--user")
_UNAVAILABLE: Final = "systemd does not take services of yours here"
_REMEDY: Final = (
    "Have something else start `kiro-auth serve --quiet`, such as a line `@reboot` of crontab -e, "
    "or start kiro-auth serve in a terminal that stays."
)
_UNIT: Final = """\
# Written by kiro-auth service install; kiro-auth service uninstall takes it away.
[Unit]
Description=The gateway of kiro-auth
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=:{command}
{variables}Restart=always
RestartSec=5
UMask=0077

[Install]
WantedBy=default.target
"""


def unit(program: Program) -> str:
    """The unit's file."""
    command = " ".join(map(_quoted, program.command))  # behind the colon of ExecStart no $ means a variable
    lines = (f"Environment={_quoted(f'{name}={value}')}\n" for name, value in program.variables.items())
    return _UNIT.format(command=command, variables="".join(lines))


def _quoted(text: str) -> str:
    """One word, in which nothing means anything to systemd."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


class Systemd:
    """The user's own systemd."""

    starts_again = True
    advice: str | None = "It ends when you log out. To have it always, as on a server: loginctl enable-linger"

    def __init__(self, machine: Machine) -> None:
        self._path: Path = machine.folder("XDG_CONFIG_HOME", ".config") / "systemd" / "user" / NAME

    @property
    def place(self) -> str:
        """The unit's file."""
        return str(self._path)

    def is_installed(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def is_running(self) -> bool:
        """Whether systemd says that it is active."""
        done = outcome((*_SYSTEMCTL, "is-active", "--quiet", NAME))
        return done is not None and done.returncode == 0

    def install(self, program: Program) -> None:
        """Write the unit, enable it, and start it anew; where that fails nothing is left."""
        self._tell("show-environment")  # before anything is written
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, unit(program).encode(errors="surrogateescape"))
        try:
            self._tell("daemon-reload")
            self._tell("enable", NAME)
            self._tell("restart", NAME)
        except ConfigFailed:
            self._remove()
            raise

    def uninstall(self) -> None:
        """Stop and disable it, and remove the file."""
        outcome((*_SYSTEMCTL, "disable", "--now", NAME))
        self._remove()

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)
        # What `enable` made, where there is no systemd any more that would take it away.
        wanted = self._path.parent / "default.target.wants" / NAME
        wanted.unlink(missing_ok=True)
        outcome((*_SYSTEMCTL, "daemon-reload"))
        outcome((*_SYSTEMCTL, "reset-failed", NAME))

    def _tell(self, *words: str) -> None:
        told((*_SYSTEMCTL, *words), _UNAVAILABLE, _REMEDY)
