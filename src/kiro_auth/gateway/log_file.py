"""Where the gateway's log goes: always to `gateway.log` in the state folder, and to a person who looks on."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.events import FIELDS, STARTED
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.file_lock import FileLock
from kiro_auth.gateway.log_lines import LOG_FILE, in_words, moment, plain, recognisable
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import open_to_append
from kiro_auth.texts import escaped, without_secrets

BYTES: Final = 1_000_000
"""Of `gateway.log`."""


class LogFile(logging.FileHandler):
    """A bounded file of mode 0600 that several processes may write; when it is full it becomes `NAME.1`.

    Nothing is written to another place through a link.  The library's own bounded file imports what pickles
    and queues records, and formats each of them twice.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        super().__init__(path, mode="ab")

    def _open(self) -> Any:
        handle = open_to_append(Path(self.baseFilename))
        self._opened = os.fstat(handle)
        return os.fdopen(handle, self.mode, buffering=0)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one, in the file that has room for it."""
        try:
            # Names of models, programs and projects are a client's: it may have sent a key as one of them.
            line = f"{escaped(without_secrets(self.format(record)))}{self.terminator}".encode()
            stream = self._with_room(len(line))
            while line:
                line = line[stream.write(line) :]
        except Exception:
            self.handleError(record)

    def _with_room(self, more: int) -> Any:
        """The file, begun anew if so many bytes would make it too large, or by another process."""
        if self.stream is not None:
            size = self._size_if_current()
            if size is None:
                self._leave()
            elif size + more >= self._max_bytes:
                self._put_away()
        if self.stream is None:
            self.stream = self._open()
        return self.stream

    def _put_away(self) -> None:
        """Give the file its other name and leave it; where that cannot be, lines are still written into it.

        Of processes that find it full in the same moment one renames it: a second one would rename the next
        file, over this one.
        """
        with contextlib.suppress(OSError):
            if not self._lock.take():  # by now another process does it
                return
            try:
                is_current = self._size_if_current() is not None
                self._leave()
                if is_current:
                    os.replace(self.baseFilename, f"{self.baseFilename}.1")
            finally:
                self._lock.free()

    def _leave(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def _size_if_current(self) -> int | None:
        """How large the open file is; None if another one, or none, has its name now."""
        try:
            found = os.stat(self.baseFilename)
        except FileNotFoundError:
            return None
        return found.st_size if os.path.samestat(found, self._opened) else None


def log_to(folder: Path, *, quiet: bool, verbose: bool) -> None:
    """Send the program's log to the file in this folder and, unless `quiet`, to stderr.

    Raises StoreFailed when there can be no file.
    """
    os.umask(0o077)
    # What no line of ours says is not to be found out for each: the caller's place, its thread and process.
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    root = logging.getLogger("kiro_auth")
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        file = LogFile(folder / LOG_FILE, BYTES)
    except OSError as error:
        raise StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"The log {folder / LOG_FILE} cannot be written: {reason(error)}.",
                next_step="Make it a file that you may write, or set XDG_STATE_HOME to another folder.",
            )
        ) from error
    file.setFormatter(AsJson())
    root.addHandler(file)
    if not quiet:
        screen = logging.StreamHandler()
        screen.setFormatter(_InWords())
        screen.addFilter(lambda record: _fields(record).get("event") != STARTED)  # `serve` says it itself
        root.addHandler(screen)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, FIELDS, {})


class AsJson(logging.Formatter):
    """A record as one line of JSON, which is still to be searched for secrets.

    `template` is the program's own text, which holds nothing of what was put in: a report takes it alone.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return msgspec.json.encode(_described(record, recognisable(record.getMessage()))).decode()


class _InWords(logging.Formatter):
    """A record as people read it: in a terminal as wide as that, else on one line with its date."""

    def format(self, record: logging.LogRecord) -> str:
        described = _described(record, plain(record.getMessage()))
        if sys.stderr.isatty():
            import shutil  # brings packers of archives

            width = shutil.get_terminal_size().columns
            return in_words(described, dated=False, width=width)
        return in_words(described, dated=True)


def _described(record: logging.LogRecord, message: str) -> dict[str, Any]:
    values = {
        "time": moment(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
        "pid": record.process,
        "message": message,
        "template": str(record.msg),
        **_fields(record),
    }
    if record.exc_info:
        values["traceback"] = without_secrets(logging.Formatter().formatException(record.exc_info))
    return values
