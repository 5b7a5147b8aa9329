"""The user's gateway for a command that needs it: the one that runs, or a new one."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import IO, Final

from kiro_auth import __version__
from kiro_auth.cli.status import alive
from kiro_auth.failures import Failure, KiroAuthError, StoreFailed
from kiro_auth.gateway.discovery import Address, find, is_older
from kiro_auth.launch import kept, start_command

LOG_FILE: Final = "gateway.log"
_SECONDS: Final = 20


def find_or_start(folder: Path) -> Address:
    """Where it answers.  Raises KiroAuthError, with what it said last, when it does not start."""
    running = _answering(folder)
    if running is not None and not is_older(running.version, __version__):
        return running
    with _opened_log(folder) as log:
        before = os.fstat(log.fileno()).st_size
        process = subprocess.Popen(  # noqa: S603 (ourselves)
            start_command(),
            cwd=Path.home(),
            env=kept(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,  # what it says before it writes there itself
            start_new_session=True,  # it outlives this command
        )
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and not process.poll():  # exit code 0: another one was faster
        started = _answering(folder)
        if started is not None and (process.poll() == 0 or started != running):
            return started
        time.sleep(0.05)
    path = folder / LOG_FILE
    reason = _last_line(path, before) or f"exit code {process.poll()}"
    if process.poll() is None:
        reason = f"no answer in {_SECONDS} seconds"
    message = f"The gateway did not start: {reason} (see {path})"
    raise KiroAuthError(Failure(code="KA-INTERNAL", message=message))


def _opened_log(folder: Path) -> IO[bytes]:
    """The gateway's log, to write behind what is there.  Raises StoreFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open(folder / LOG_FILE, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))
    except OSError as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"The gateway did not start: {error.filename} cannot be used: {error.strerror}.",
                next_step=f"Make {folder} writable, or set XDG_STATE_HOME to another folder.",
            )
        ) from error


def _last_line(path: Path, before: int) -> str | None:
    """The last line with words that was written behind so many bytes."""
    try:
        lines = path.read_bytes()[before:].decode(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.removeprefix("error: ") for line in reversed(lines) if re.search(r"\w", line)), None)


def _answering(folder: Path) -> Address | None:
    address = find(folder)
    return address if address is not None and alive(address.url, address.key) else None
