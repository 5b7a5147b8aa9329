"""Which releases of the coding agents are on the PATH, in a few seconds whatever they do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from kiro_auth.os_errors import reason

SECONDS: Final = 10.0
"""What each may take to print its version; all are asked at the same time."""
_VERSION: Final = re.compile(rb"\d{1,6}\.\d{1,6}\.\d{1,6}(?:[-+][\w.+-]{1,20})?")


def versions(names: Iterable[str]) -> Mapping[str, str]:
    """By name of the program, what `--version` says, or why that is not known."""
    asked = list(names)
    with ThreadPoolExecutor(len(asked)) as threads:
        return dict(zip(asked, threads.map(_version, asked), strict=True))


def _version(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        return "not on the PATH"
    # A file, as the children of a program that is ended would hold a pipe open.
    with tempfile.TemporaryFile() as printed:
        try:
            started = subprocess.Popen(  # noqa: S603 (the user's own, from PATH)
                [program, "--version"],
                stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return f"cannot be started: {reason(error)}"
        try:
            started.wait(SECONDS)
        except subprocess.TimeoutExpired:
            _end(started)
            return f"did not say its version within {SECONDS:.0f} seconds"
        printed.seek(0)
        found = _VERSION.search(printed.read(1000))
    return found.group().decode() if found else "printed no version"


def _end(started: subprocess.Popen[bytes]) -> None:
    """With its children: what npm installs is a script that starts the real program."""
    if sys.platform == "win32":
        started.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(started.pid, signal.SIGKILL)
    started.wait()
