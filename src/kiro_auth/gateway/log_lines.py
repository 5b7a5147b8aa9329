"""The lines of the gateway's log: records as JSON, in words for people, and read back from the file.

The file also holds text as it is: what a gateway says while it starts, before it writes there itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from kiro_auth.json_values import object_in
from kiro_auth.regular_files import open_to_read, read_file
from kiro_auth.texts import clean, in_one_line, without_secrets

LOG_FILE: Final = "gateway.log"
_WHOLE: Final = r"`[^`]*`|\[request [^]]*\]"
"""Commands and ids, which people copy: they stay in one line."""
_JOINED: Final = "\N{NO-BREAK SPACE}"
OLD_LOG_FILE: Final = f"{LOG_FILE}.1"
"""What the log becomes when it is full, in the place of the one before."""

Record = Mapping[str, Any]
"""One line: `message`, and unless it is text alone `time`, `level` and the fields of docs/cli.md."""

_EMAIL: Final = r"([^\s@<(\"']{1})[^\s@<(\"']*@([\w.-]+\.\w+)"


def plain(text: str) -> str:
    """The text as `recognisable`, without secrets."""
    return without_secrets(recognisable(text))


def recognisable(text: str) -> str:
    """The text on one line, without what steers a terminal, e-mails as their owners recognise them.

    Secrets may stand in it, for whoever has the whole of their text searched for them.
    """
    line = " ".join(in_one_line(text).split())
    # First the secrets: of one with an @ in it a part would stay that is none any more.
    return _email().sub(r"\1***@\2", without_secrets(line)) if "@" in line else line


@cache
def _email() -> re.Pattern[str]:
    """Compiled for the first line that needs it."""
    return re.compile(_EMAIL)


def moment(epoch: float) -> str:
    """A time for programs: ISO 8601 in UTC, to the millisecond."""
    milliseconds = round(epoch * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}+00:00"


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    """Many lines are of the same one."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def record_of(line: str) -> Record:
    """What a line of the file holds; one that is no record is text."""
    record = object_in(line.encode()) if line.startswith("{") else None
    return record if record is not None and isinstance(record.get("message"), str) else {"message": line}


def in_words(record: Record, *, dated: bool, width: int | None = None) -> str:
    """A record for people, its time local; wrapped at words where it is wider than that many columns."""
    moment = local_time(record, "%b %d %H:%M:%S" if dated else "%H:%M:%S")
    level = record.get("level")
    mark = f"{level}: " if level in ("warning", "error") else ""
    message = in_one_line(str(record["message"]))
    text = f"{moment} {mark}{message}" if moment else message
    if width is not None and len(text) > width:
        indent = " " * (len(moment) + 1 if moment else 0)
        import textwrap  # a log that is a file wraps nothing

        text = textwrap.fill(
            re.sub(_WHOLE, lambda found: found[0].replace(" ", _JOINED), text), width,
            subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        ).replace(_JOINED, " ")  # fmt: skip
    trace = record.get("traceback")
    return f"{text}\n{clean(trace)}" if isinstance(trace, str) else text


def local_time(record: Record, form: str) -> str:
    """When it was, here, in this form of `strftime`; nothing for text that has no time."""
    try:
        return datetime.fromisoformat(str(record.get("time"))).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


class Tail:
    """The end of the log in a folder, and what is added to it, also when it becomes full or is begun anew."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG_FILE
        self._old = folder / OLD_LOG_FILE
        self._file: int | None = None  # the file's number in its file system
        self._read = 0  # bytes of it

    def last(self, count: int) -> list[str]:
        """The last lines of both files, oldest first.  Raises OSError when one cannot be read."""
        old = read_file(self._old) if self._old.exists() else b""
        lines = [*_lines(old), *self.new()]
        return lines[-count:] if count else []

    def new(self) -> list[str]:
        """The whole lines that came since the last look.  Raises OSError when they cannot be read."""
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return []
        before: list[str] = []
        if now.st_ino != self._file or now.st_size < self._read:
            before = list(self._rest_of_old())
            self._file, self._read = now.st_ino, 0
        return before + self._more(self._path)

    def _rest_of_old(self) -> Iterator[str]:
        """What was added to a file that became the old one meanwhile."""
        if self._file is not None and self._old.exists() and os.stat(self._old).st_ino == self._file:
            yield from self._more(self._old)

    def _more(self, path: Path) -> list[str]:
        with os.fdopen(open_to_read(path), "rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        return _lines(whole)


def _lines(data: bytes) -> list[str]:
    return [line for line in data.decode(errors="replace").split("\n") if line.strip()]
