"""Client keys in `client-keys.json` beside the accounts; their audit, `client-keys.log` of the state folder.

Both have mode 0600.  A row is appended to the audit before its change is made, so that no key is there of
which the audit does not tell.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kiro_auth.atomic import clear_leftovers, replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.file_lock import FileLock
from kiro_auth.json_values import NotJson, decoded_as
from kiro_auth.keys.key import ClientKey
from kiro_auth.keys.protocol import AuditRow, Change, missing
from kiro_auth.os_errors import reason
from kiro_auth.regular_files import make_folder, open_to_append, read_file

FILE: Final = "client-keys.json"
AUDIT_FILE: Final = "client-keys.log"
LOCK_FILE: Final = "client-keys.lock"
VERSION: Final = 1
_LOCK_SECONDS: Final = 10.0
_SETTLED_NS: Final = 100_000_000
"""Two changes within one tick of the file system's clock can look alike, so younger files are read again."""


class _Document(Struct, frozen=True):
    version: int
    keys: tuple[ClientKey, ...]


class FileKeys:
    """See the module; see `KeyStore`."""

    def __init__(self, folder: Path, state: Path) -> None:
        self._path = folder / FILE
        self._audit = state / AUDIT_FILE
        self._lock = state / LOCK_FILE
        self._keys: tuple[ClientKey, ...] = ()
        self._marks: tuple[int, ...] | None = None

    def keys(self) -> Sequence[ClientKey]:
        """See `KeyStore`: a stat, and the file again when it changed."""
        try:
            status = self._path.stat()
            marks = (status.st_ino, status.st_mtime_ns, status.st_size)
            if marks == self._marks:
                return self._keys
            document: _Document = decoded_as(read_file(self._path), _Document)
        except FileNotFoundError:
            self._marks = None
            self._keys = self._keys and ()
            return self._keys
        except (OSError, NotJson) as error:
            raise self._unusable(self._path, error) from error
        if document.version != VERSION:
            raise self._unusable(self._path, NotJson(f"it has version {document.version}"))
        settled = time.time_ns() - status.st_mtime_ns > _SETTLED_NS
        self._marks = marks if settled else None
        if document.keys != self._keys:
            self._keys = document.keys
        return self._keys

    def change(self, decide: Change) -> ClientKey:
        """See `KeyStore`."""
        with self._changing():
            self._marks = None
            keys = {key.id: key for key in self.keys()}
            changed = decide(tuple(keys.values()))
            keys[changed.key.id] = changed.key
            self._write(tuple(keys.values()), [changed.row])
        return changed.key

    def add_missing(self, keys: Sequence[ClientKey], rows: Sequence[AuditRow]) -> int:
        """See `KeyStore`."""
        with self._changing():
            self._marks = None
            present = tuple(self.keys())
            new_keys, new_rows = missing(keys, rows, present, self.audit())
            if new_keys or new_rows:
                self._write((*present, *new_keys), new_rows)
        return len(new_keys)

    def audit(self) -> list[AuditRow]:
        """See `KeyStore`.  Half a line, as a killed process may leave one, is left out."""
        try:
            lines = read_file(self._audit).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(self._audit, error) from error
        return list(_rows(lines))

    def _write(self, keys: tuple[ClientKey, ...], rows: Sequence[AuditRow]) -> None:
        document = msgspec.json.encode(_Document(VERSION, keys))
        try:
            for row in rows:
                self._append(row)
            clear_leftovers(self._path)
            replace_file(self._path, msgspec.json.format(document, indent=2))
        except OSError as error:
            raise self._unusable(self._path, error) from error

    def _append(self, row: AuditRow) -> None:
        handle = open_to_append(self._audit)
        try:
            # A line feed first ends the half of a line that a killed process may have left.
            os.write(handle, b"\n" + msgspec.json.encode(row) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            make_folder(self._path.parent)
            make_folder(self._lock.parent)
            lock = FileLock(self._lock)
            if not lock.take(_LOCK_SECONDS):
                raise TimeoutError(errno.ETIMEDOUT, "another program holds its lock for long")
        except OSError as error:
            raise self._unusable(self._path, error) from error
        try:
            yield
        finally:
            lock.free()

    def _unusable(self, path: Path, error: Exception) -> StoreFailed:
        why = reason(error) if isinstance(error, OSError) else str(error)
        return StoreFailed(
            Failure(
                code="KA-STORE",
                message=f"The client keys in {path} cannot be read or written: {why}.",
                next_step="Correct the file, or move it away and make new keys: kiro-auth keys create NAME",
            )
        )


def _rows(lines: Sequence[bytes]) -> Iterator[AuditRow]:
    for line in lines:
        try:
            row: AuditRow = decoded_as(line, AuditRow)
        except NotJson:
            continue
        yield row
