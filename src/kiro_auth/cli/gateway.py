"""The user's gateway for a command that needs it: the one that runs, or a new one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from kiro_auth import __version__
from kiro_auth.cli.status import alive
from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.gateway.discovery import Address, find, is_older

IDLE_MINUTES: Final = 30
"""After so long without a request a gateway that another program started ends."""
START: Final = [
    *(sys.executable, "-P", "-m", "kiro_auth"),  # -P: what lies in the folder of the day is not ours to run
    *("serve", "--quiet", "--idle-minutes", str(IDLE_MINUTES)),
]
_SECONDS: Final = 20


def find_or_start(folder: Path) -> Address:
    """Where it answers.  Raises KiroAuthError when it does not start."""
    running = _answering(folder)
    if running is not None and not is_older(running.version, __version__):
        return running
    process = subprocess.Popen(  # noqa: S603 (ourselves)
        START,
        cwd=Path.home(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # it outlives this command
    )
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and not process.poll():  # exit code 0: another one was faster
        started = _answering(folder)
        if started is not None and (process.poll() == 0 or started != running):
            return started
        time.sleep(0.05)
    log = folder / "gateway.log"
    raise KiroAuthError(
        Failure(code="KA-INTERNAL", message="The gateway did not start.", next_step=f"Its log: {log}")
    )


def _answering(folder: Path) -> Address | None:
    address = find(folder)
    return address if address is not None and alive(address.url, address.key) else None
