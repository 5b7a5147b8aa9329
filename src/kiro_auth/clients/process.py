"""A program of the user's as a child process: it gets the signals, and its exit code is handed on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

_PASSED_ON_SIGNALS: Final = () if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
"""What a supervisor or a closing terminal sends to this process, meant for the program."""


def started(command: Sequence[str], variables: Mapping[str, str | None]) -> subprocess.Popen[bytes]:
    """The program in this environment, with these variables changed (None: unset).  Raises OSError."""
    wanted = {**os.environ, **variables}
    environment = {name: value for name, value in wanted.items() if value is not None}
    return subprocess.Popen(command, env=environment)  # noqa: S603 (what the user named)


def wait_for(program: subprocess.Popen[bytes]) -> int:
    """The program's exit code.  This process stays meanwhile, as it holds the program's gateway."""
    # Ctrl-C is for the program, which gets it from the terminal.
    signal.signal(signal.SIGINT, lambda *_: None)
    for name in _PASSED_ON_SIGNALS:
        signal.signal(name, lambda number, _: program.send_signal(number))
    code = program.wait()
    return code if code >= 0 else 128 - code
