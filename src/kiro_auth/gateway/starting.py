"""The user's gateway for a program that needs it: the one that runs, or a new one."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.failures import Failure, KiroAuthError, StoreFailed
from kiro_auth.gateway.calls import Listener, call, reach, stranger_in_place, trouble
from kiro_auth.gateway.discovery import Address, find, is_older
from kiro_auth.launch import kept, start_command
from kiro_auth.regular_files import Unusable, make_folder, open_to_append

LOG_FILE: Final = "gateway.log"
START_SECONDS: Final = 20
"""How long a gateway that was started is waited for."""


def find_or_start(folder: Path, *, on_stranger: Callable[[Failure], None]) -> Address:
    """Where it answers.  Raises KiroAuthError, with what it said last, when it does not start.

    `on_stranger` hears of a stranger that listens where the gateway was.
    """
    reached = reach(folder)
    if stranger := stranger_in_place(reached):
        on_stranger(stranger)
    running = reached.ours
    if running is not None and not is_older(running.version, __version__):
        return running
    if reached.held and (hung := trouble(reached)):
        raise KiroAuthError(hung)
    started = start(folder)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and not started.process.poll():  # exit code 0: another one was faster
        there = _answering(folder)
        if there is not None and (started.process.poll() == 0 or there != running):
            return there
        time.sleep(0.05)
    raise started.failed()


class Started(Struct, frozen=True):
    """A gateway's process, and how long its log was before."""

    process: subprocess.Popen[bytes]
    log: Path
    before: int

    def failed(self) -> KiroAuthError:
        """Why it does not answer, in its own last words where it has ended."""
        status = self.process.poll()
        reason = _last_line(self.log, self.before) or f"exit code {status}"
        if status is None:
            reason = f"no answer in {START_SECONDS} seconds"
        message = f"The gateway did not start: {reason} (see {self.log})"
        return KiroAuthError(Failure(code="KA-INTERNAL", message=message))


def start(
    folder: Path, *, environment: Mapping[str, str] = os.environ, listeners: Sequence[int] = ()
) -> Started:
    """Start a gateway that outlives this command.  Raises StoreFailed when there can be no log.

    `listeners` are the descriptors of sockets for it; with some it says on its
    standard output when it serves.
    """
    options = [word for number in listeners for word in ("--listener", str(number))]
    with _opened_log(folder) as log:
        before = os.fstat(log.fileno()).st_size
        process = subprocess.Popen(  # noqa: S603 (ourselves)
            [*start_command(), *options],
            cwd=Path.home(),
            env=kept(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if listeners else subprocess.DEVNULL,
            stderr=log,  # what it says before it writes there itself
            start_new_session=True,
            pass_fds=tuple(listeners),
        )
    return Started(process, folder / LOG_FILE, before)


def _opened_log(folder: Path) -> IO[bytes]:
    """The gateway's log, to write behind what is there.  Raises StoreFailed."""
    try:
        make_folder(folder)
        return os.fdopen(open_to_append(folder / LOG_FILE), "ab")
    except OSError as error:
        step = f"Make {folder} writable, or set XDG_STATE_HOME to another folder."
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"The gateway did not start: {error.filename} cannot be used: {error.strerror}.",
                next_step=f"Move away what is there. {step}" if isinstance(error, Unusable) else step,
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
    return address if address is not None and call(address).listener is Listener.OURS else None
