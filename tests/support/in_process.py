"""One command of ours inside the test's own process: what it prints and its exit code, in milliseconds.

What a command may change of its process is put back: environment, arguments, streams, folder, umask, logging,
signal handlers.  Whatever needs more of a process than that (signals, a terminal, start-up, locks between
processes, the certificates that a process reads once) starts one: `Home.process`, `Home.started`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kiro_auth.cli.main import main

_ONE_AT_A_TIME = threading.Lock()
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: str = "",
    folder: Path | None = None,
    columns: int | None = None,
    one_screen: bool = False,
) -> subprocess.CompletedProcess[str]:
    """The command as `subprocess.run` would show it; `environment` is all that it sees, `folder` where it is.

    With `columns` its output says of itself that it is a terminal so wide; with `one_screen` so does its
    input, and what is typed and failures are shown there too, among what is in `stdout`.
    """
    done: list[subprocess.CompletedProcess[str]] = []
    if columns is not None:
        environment = {**environment, "TERM": "xterm-256color", "COLUMNS": str(columns)}

    def command() -> None:
        terminal = columns is not None
        done.append(_run(arguments, environment, stdin, folder, terminal=terminal, one_screen=one_screen))

    if _in_event_loop():  # where no second one may run
        thread = threading.Thread(target=command)
        thread.start()
        thread.join()
    else:
        command()
    return done[0]


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: str,
    folder: Path | None,
    *,
    terminal: bool,
    one_screen: bool,
) -> subprocess.CompletedProcess[str]:
    with _ONE_AT_A_TIME, ExitStack() as put_back:
        put_back.enter_context(_environment(environment))
        put_back.enter_context(_folder_and_umask(folder))
        put_back.enter_context(_logging())
        put_back.enter_context(_signal_handlers())
        streams = put_back.enter_context(_streams(["kiro-auth", *arguments], stdin, terminal, one_screen))
        code = _exit_code()
        written = [stream.buffer.getvalue().decode() for stream in dict.fromkeys(streams)]
    return subprocess.CompletedProcess(["kiro-auth", *arguments], code, *written)


def _exit_code() -> int:
    """That of `main()`; a string is written and means 1, as does any other exception, with its traceback."""
    try:
        main()
    except SystemExit as end:
        if not isinstance(end.code, str):
            return int(end.code or 0)
        sys.stderr.write(f"{end.code}\n")
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    # Changed in place: the program's functions hold this very mapping.
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    if other_zone := before.get("TZ") != wanted.get("TZ"):
        time.tzset()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        if other_zone:
            time.tzset()


class _Stream(io.TextIOWrapper):
    """What a pipe would be, or, if it says so, a terminal; its bytes are in `buffer`."""

    buffer: io.BytesIO

    def __init__(
        self, text: str = "", *, terminal: bool = False, shown_at: io.TextIOBase | None = None
    ) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)
        self._terminal = terminal
        self._shown_at = shown_at

    def isatty(self) -> bool:
        return self._terminal

    def readline(self, *size: int) -> str:
        """What is typed is seen, as terminals echo it."""
        line = super().readline(*size)
        if self._shown_at is not None:
            self._shown_at.write(line)
        return line


@contextmanager
def _streams(
    arguments: list[str], stdin: str, terminal: bool, one_screen: bool
) -> Iterator[tuple[_Stream, _Stream]]:
    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    stdout = _Stream(terminal=terminal)
    stderr = stdout if one_screen else _Stream()
    typed = _Stream(stdin, terminal=one_screen, shown_at=stdout if one_screen else None)
    sys.argv, sys.stdin, sys.stdout, sys.stderr = arguments, typed, stdout, stderr
    try:
        yield stdout, stderr
    finally:
        sys.argv, sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def _folder_and_umask(folder: Path | None) -> Iterator[None]:
    before, umask = Path.cwd(), os.umask(0)
    os.umask(umask)
    if folder is not None:
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.umask(umask)


@contextmanager
def _logging() -> Iterator[None]:
    ours = logging.getLogger("kiro_auth")
    before = ours.level, ours.propagate, list(ours.handlers), logging.lastResort
    try:
        yield
    finally:
        for handler in set(ours.handlers) - set(before[2]):
            handler.close()
        ours.setLevel(before[0])
        ours.propagate, ours.handlers[:], logging.lastResort = before[1:]


@contextmanager
def _signal_handlers() -> Iterator[None]:
    """Only the main thread can change them, so only it has to put them back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
