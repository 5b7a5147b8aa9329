"""Programs that the demonstration starts: each ends with it, in bounded time, with all that it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_LOOK_SECONDS: Final = 0.05
_END_SECONDS: Final = 10.0
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

OnWait = Callable[[int], None]
"""Hears with each second in which a program is silent how many it has run."""


class Program:
    """A running program and the file that holds what it prints.

    Not a pipe: whatever the program leaves running could hold a pipe open for ever.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process = process
        self._output = output
        self._seen = 0
        self._told = 0
        self._begun = time.monotonic()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """Everything it has printed, without colours."""
        return _COLOURS.sub("", self._output.read_text("utf-8", errors="replace"))

    def lines(self, seconds: float, on_wait: OnWait = lambda _: None) -> Iterator[str]:
        """Whole lines as they come, and the last one after its end.  Raises TimeoutError after that time."""
        deadline = time.monotonic() + seconds
        while True:
            code = self.code  # asked first: what is printed after this look is not lost
            new = self.said()[self._seen :]
            whole = new if code is not None else new[: new.rfind("\n") + 1]
            self._seen += len(whole)
            yield from whole.splitlines()
            if code is not None:
                return
            if time.monotonic() > deadline:
                raise TimeoutError
            if (seconds_run := int(time.monotonic() - self._begun)) > self._told and not whole:
                self._told = seconds_run
                on_wait(seconds_run)
            time.sleep(_LOOK_SECONDS)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: Path
) -> Iterator[Program]:
    """The command in that folder; it and its children are ended with the block.  Raises OSError."""
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 (ourselves, or the user's OpenCode)
            command,
            cwd=folder,
            # Programs such as OpenCode work in $PWD, whatever folder they are started in.
            env={**environment, "PWD": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Program(process, output)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it, kindly first, then with all its children."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    finally:  # after a second Ctrl-C as well
        if sys.platform == "win32":
            process.kill()
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
