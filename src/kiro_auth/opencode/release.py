"""Which OpenCode is on the PATH, and what is known of the plugin in that release."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Final, Literal

from msgspec import Struct

from kiro_auth.os_errors import reason

Grade = Literal["run", "source", "refuses", "unseen"]
"""The plugin was run in the real release, is written from its source alone, or is refused by it."""

KNOWN: Final[tuple[tuple[str, str, Grade], ...]] = (
    ("1.14.48", "1.14.48", "run"),
    ("1.17.19", "1.17.19", "run"),
    ("1.18.34", "1.18.34", "run"),
    ("2.0.0", "2.0.3", "refuses"),
    ("2.0.4", "2", "source"),
)
"""First and last release, with its grade; `2` as the last is every 2.x.  All others are `unseen`."""

SERVICE: Final = "A service of OpenCode that runs takes up a changed plugin after: opencode service restart"
"""2.x runs in the background, for all windows."""

SECONDS: Final = 20.0
"""What `opencode --version` may take; a second is usual, several on a busy machine."""
_END_SECONDS: Final = 1.0
_LINES: Final = 20
_LINE_BYTES: Final = 1000
_VERSION: Final = re.compile(rb"\s*(?:opencode )?v?((\d{1,6})\.(\d{1,6})\.(\d{1,6})([-+][\w.+-]*)?)\s*")


class Release(Struct, frozen=True):
    """What `opencode --version` printed: `number` is 1, 18, 34 of `1.18.34`."""

    version: str
    number: tuple[int, int, int]

    @property
    def grade(self) -> Grade:
        """What is known of the plugin in it; a preview such as `2.1.0-beta` is none of the releases."""
        if self.version == ".".join(map(str, self.number)):
            for first, last, grade in KNOWN:
                end = _parts(last)
                if _parts(first) <= self.number and self.number[: len(end)] <= end:
                    return grade
        return "unseen"


class Nameless(Struct, frozen=True):
    """A program `opencode` that does not say which release it is, and why."""

    program: str
    reason: str


Installed = Release | Nameless | None
"""The OpenCode on the PATH; None where there is none."""


class Standing(Struct, frozen=True):
    """What there is to say of the OpenCode here.  `remedy` is None where nothing is to be done."""

    level: Literal["ok", "warning", "fault"]
    message: str
    remedy: str | None = None


def generation(installed: Installed) -> int | None:
    """1 for OpenCode 1.x, 2 for 2.x and all that comes after it, None where it is not known."""
    return (2 if installed.number[0] >= 2 else 1) if isinstance(installed, Release) else None


def find_release(environment: Mapping[str, str] = os.environ, folder: Path | None = None) -> Installed:
    """Ask the program that the PATH finds first, in that folder or this one.

    1.x prints `1.18.34`, 2.x `opencode v2.1.0`.  Whatever a program does, the answer comes within SECONDS and
    a moment.
    """
    program = shutil.which("opencode", path=environment.get("PATH"))
    if program is None:
        return None
    try:
        started = subprocess.Popen(  # noqa: S603 (the user's own, from PATH)
            [os.path.abspath(program), "--version"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return Nameless(program, f"cannot be started: {reason(error)}")
    printed: list[Release] = []
    reader = Thread(target=_read_version, args=(started, printed), daemon=True)
    reader.start()
    reader.join(SECONDS)
    late = reader.is_alive()
    _end(started)
    if printed:
        return printed[0]
    if late:
        return Nameless(program, f"did not say its version within {SECONDS:.0f} seconds")
    code = started.returncode
    return Nameless(program, f"ended with exit code {code}" if code else "printed no version")


def standing(installed: Release | Nameless) -> Standing:
    """What people should know of the plugin in the OpenCode that was found."""
    if isinstance(installed, Nameless):
        remedy = "See what `opencode --version` prints."
        return Standing(
            "warning", f"{installed.program} {installed.reason}, so its release is not known.", remedy
        )
    name = f"OpenCode {installed.version}"
    match installed.grade:
        case "run":
            return Standing("ok", f"{name}: the plugin was run with this release")
        case "source":
            what = f"{name}: the plugin is made from the source of 2.x, and was not run with it"
            return Standing("ok", f"{what}. {SERVICE}")
        case "refuses":
            return Standing("fault", f"{name} cannot load the plugin.", "Update OpenCode to 2.0.4 or newer.")
        case "unseen":
            tried = ", ".join(first for first, _, grade in KNOWN if grade == "run")
            what = f"{name} was not tried with the plugin, which may work in it all the same."
            return Standing("warning", what, f"If it does not, take one of {tried}, and tell us.")


def _read_version(started: subprocess.Popen[bytes], printed: list[Release]) -> None:
    """Add the version that is among the first lines, if there is one."""
    assert started.stdout is not None
    with started.stdout as output, suppress(OSError):
        for _ in range(_LINES):
            line = output.readline(_LINE_BYTES)
            if version := _VERSION.fullmatch(line):
                printed.append(
                    Release(version[1].decode(), (int(version[2]), int(version[3]), int(version[4])))
                )
            if version or not line:
                return


def _end(started: subprocess.Popen[bytes]) -> None:
    """Let it end, or end it with its children: what npm installs is a script that starts the real program."""
    with suppress(subprocess.TimeoutExpired):
        started.wait(_END_SECONDS)
        return
    if sys.platform == "win32":
        started.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(started.pid, signal.SIGKILL)
    started.wait()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
