"""The user's gateway for a program that needs it: the one that runs, or a new one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from kiro_auth import __version__
from kiro_auth.failures import Failure, KiroAuthError, StoreFailed
from kiro_auth.gateway.calls import CODE, Listener, answered, call, reach, stranger_in_place, trouble
from kiro_auth.gateway.discovery import Address, find, is_older
from kiro_auth.gateway.kept_address import read
from kiro_auth.gateway.log_lines import LOG_FILE, record_of
from kiro_auth.launch import kept, start_command
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, make_folder, open_to_append

START_SECONDS: Final = 20
"""How long a gateway that was started is waited for."""
_LOOK_SECONDS: Final = 0.01
"""Between two looks whether it is there: it begins within a few tenths of a second."""


def find_or_start(folder: Path, *, on_news: Callable[[Failure], None], stays: bool = False) -> Address:
    """Where it answers.  Raises KiroAuthError, with what it said last, when it does not start.

    `on_news` hears of a stranger that listens where the gateway was, and of another address that it has
    because of that.  One that `stays` does not end unused.
    """
    began = time.time()
    reached = reach(folder)
    running = reached.ours
    if running is None or is_older(running.version, __version__):
        if reached.held and (hung := trouble(reached)):
            raise KiroAuthError(hung)
        running = _started(folder, running)
        if news := news_since(folder, began) or stranger_in_place(reached):
            on_news(news)
    if stays and not running.stays:
        asked = reach(folder, "POST", "/kiro/stay")
        if asked.ours is None and not asked.held:  # it has ended in between
            return find_or_start(folder, on_news=on_news, stays=True)
        answered(asked)
    return running


def news_since(folder: Path, began: float) -> Failure | None:
    """What there is to say of a change of the address since then (epoch seconds)."""
    kept = read(folder)
    changed = kept is not None and kept.change is not None and kept.change.at >= began
    return kept.news(began) if kept and changed else None


def _started(folder: Path, running: Address | None) -> Address:
    """The one that answers after a start, whoever was faster; not the one that ran before."""
    started = start(folder)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and not started.process.poll():  # exit code 0: another one was faster
        there = _answering(folder)
        if there is not None and (started.process.poll() == 0 or there != running):
            started.withdraw(there)
            return there
        time.sleep(_LOOK_SECONDS)
    raise started.failed()


class Started(Struct, frozen=True):
    """A gateway's process, and how long its log was before."""

    process: subprocess.Popen[bytes]
    log: Path
    before: int

    def withdraw(self, other: Address) -> None:
        """End it where another was faster: it would begin when that one is told to stop in this moment."""
        if (
            sys.platform != "win32" and other.pid != self.process.pid
        ):  # there Python may be a child of its own
            self.process.terminate()

    def failed(self) -> KiroAuthError:
        """Why it does not answer, in its own last words where it has ended."""
        status = self.process.poll()
        if status is None:
            message = f"The gateway did not start: no answer in {START_SECONDS} seconds (see {self.log})"
            return KiroAuthError(Failure(code="KA-GATEWAY", message=message))
        reason = _last_line(self.log, self.before) or f"exit code {status}"
        code = CODE.search(reason)
        message = f"The gateway did not start: {CODE.sub('', reason)} (see {self.log})"
        return KiroAuthError(Failure(code=code[1] if code else "KA-INTERNAL", message=message))


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
                message=f"The gateway did not start: {error.filename} cannot be used: {reason(error)}.",
                next_step=f"Move away what is there. {step}" if isinstance(error, Unusable) else step,
            )
        ) from error


def _last_line(path: Path, before: int) -> str | None:
    """The last line with words that was written behind so many bytes."""
    try:
        lines = path.read_bytes()[before:].decode(errors="replace").splitlines()
    except OSError:
        return None
    said = (str(record_of(line)["message"]) for line in reversed(lines))
    return next((text.removeprefix("error: ") for text in said if re.search(r"\w", text)), None)


def _answering(folder: Path) -> Address | None:
    address = find(folder)
    return address if address is not None and call(address).listener is Listener.OURS else None
