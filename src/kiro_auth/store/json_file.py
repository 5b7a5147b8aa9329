"""One JSON object on disk, read and decoded once for each state of the file."""

from __future__ import annotations

import glob
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.json_values import NotJson, decoded, unmarked
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import Unusable, make_folder, read_file

VERSION: Final = 1
MARK: Final = "kiroAuth"
"""The top-level key that says this program has written the file, and kept a copy of what was there."""
_SETTLED_NS: Final = 100_000_000
"""Two changes within one tick of the file system's clock can look alike, so younger files are read again."""

Document: TypeAlias = dict[str, Any]
Content = TypeVar("Content")


class _Seen(Struct, frozen=True):
    """A state of the file: its marks (None: look again), its text, and what that says, or why it does not."""

    marks: tuple[int, ...] | None
    text: bytes
    content: Any


class JsonFile(Generic[Content]):
    """The file at `path`, `empty` where it lacks something; `parse` makes of it what it says.

    `parse` raises StoreFailed.  Threads may share it; of two that change it at once one's change is lost.
    """

    def __init__(self, path: Path, empty: Document, parse: Callable[[Document, Path], Content]) -> None:
        self.path = path
        self._name = str(path)  # it is looked at for every request
        self._empty = msgspec.json.encode({"version": VERSION, **empty})
        self._parse = parse
        self._seen: _Seen | None = None

    def look(self) -> Content:
        """What the file says; the same object as long as that is the same.  Raises StoreFailed."""
        content = self._look().content
        if isinstance(content, Failure):
            raise StoreFailed(content)
        return content  # type: ignore[no-any-return]

    def read(self) -> Document:
        """The document, the caller's to change.  Raises StoreFailed; the file stays as it is."""
        return self._decoded(self._look().text)

    def write(self, document: Document, *, forgotten: Callable[[Document], Document] | None = None) -> None:
        """Replace the file in one step; the first time, keep a copy of what was.  Raises StoreFailed.

        What is to be `forgotten` is not in that copy.  For those alone who exclude other writers.
        """
        try:
            make_folder(self.path.parent)
            clear_leftovers(self.path)
            if MARK not in document:
                self._keep_copy(forgotten)
                document[MARK] = {"since": _stamp()}
            replace_file(self.path, _text_of(document))
        except OSError as error:
            raise unusable(self.path, error) from error

    def clear_leftovers(self) -> None:
        """Remove what killed writers left.  For those alone who exclude other writers."""
        clear_leftovers(self.path)

    def _look(self) -> _Seen:
        seen = self._seen
        marks: tuple[int, ...] | None = None
        try:
            status = os.stat(self._name)
            marks = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen is not None and seen.marks == marks:
                return seen
            text = read_file(self.path)
        except FileNotFoundError:
            if seen is not None and not seen.text:
                return seen
            text = b""
        except OSError as error:
            raise unusable(self.path, error) from error
        else:
            if time.time_ns() - status.st_mtime_ns <= _SETTLED_NS:
                marks = None
        content = seen.content if seen is not None and seen.text == text else self._content(text)
        self._seen = _Seen(marks, text, content)
        return self._seen

    def _content(self, text: bytes) -> Content | Failure:
        try:
            return self._parse(self._decoded(text), self.path)
        except StoreFailed as error:
            return error.failure

    def _decoded(self, text: bytes) -> Document:
        try:
            document = decoded(text if unmarked(text).strip() else b"{}")
        except NotJson as error:
            raise failed(
                f"{self.path} is not JSON: {error}.", "Correct it, or move it away and sign in again."
            ) from error
        if not isinstance(document, dict):
            raise failed(f"{self.path} does not hold a JSON object.", "Move it away and sign in again.")
        version = document.get("version", VERSION)
        if version != VERSION:
            raise failed(
                f"{self.path} has version {version!r}; this program knows version {VERSION}.",
                "Use the newer program that wrote it, or move the file away and sign in again.",
            )
        return msgspec.json.decode(self._empty, type=Document) | document

    def _keep_copy(self, forgotten: Callable[[Document], Document] | None) -> None:
        text = self._look().text
        if unmarked(text).strip() in (b"", b"{}"):
            return
        if forgotten is not None:
            before = self._decoded(text)
            if (after := forgotten(before)) != before:
                text = _text_of(after)
        replace_file(self.path.with_name(f"{self.path.name}.backup-{_stamp()}"), text)

    def forget_in_copies(
        self, forgotten: Callable[[Document], Document], *, done: str = "It is removed"
    ) -> None:
        """Take it out of the copies that were kept.  Raises StoreFailed, which names one that has it still.

        `done` is how that begins: what is done already.

        For those alone who exclude other writers.
        """
        for copy in sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.backup-*")):
            try:
                clear_leftovers(copy)
                before = self._decoded(read_file(copy))
                after = forgotten(before)
                if after != before:
                    replace_file(copy, _text_of(after))
            except (OSError, StoreFailed) as error:
                raise failed(
                    f"{done}, but {copy}, a copy of the file from before, may hold its tokens still.",
                    f"Look at that file, and delete it: rm {shlex.quote(str(copy))}",
                ) from error


def _text_of(document: Document) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def failed(message: str, next_step: str) -> StoreFailed:
    """What a file does not give, and what to do about it."""
    return StoreFailed(Failure(code="KA-STORE", message=message, next_step=next_step))


def unusable(path: Path, error: OSError) -> StoreFailed:
    """That the operating system does not give a file."""
    message = f"{path} cannot be read or written: {reason(error)}."
    if isinstance(error, Unusable):
        return failed(message, f"Move away what is at {error.filename}.")
    return failed(message, "Check the folder's owner, its mode, and that the disk has space.")
