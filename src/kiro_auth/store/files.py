"""The default store: the original plugin's two JSON files, shared by any number of processes.

Every change is: lock, read again, change only the named fields, write aside, fsync, rename.  Fields and
top-level keys we do not know are kept.  Before the first change of a file that this program has not written
yet, a dated copy is kept beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from filelock import FileLock, Timeout

from kiro_auth.atomic import replace_file
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.json_values import NotJson, decoded
from kiro_auth.store.store import Record, StoreBusy

ACCOUNTS: Final = "kiro-accounts.json"
USAGE: Final = "kiro-usage.json"
VERSION: Final = 1
MARK: Final = "kiroAuth"
"""The top-level key that says this program has written the file, and kept a copy of what was there."""
_LOCK_SECONDS: Final = 15.0
_SETTLED_NS: Final = 100_000_000
"""Two changes within one tick of the file system's clock can look alike, so younger files are read again."""

Document = dict[str, Any]


class FileStore:
    """Accounts and usage in `folder`; lock files in `locks`.  Reading creates nothing."""

    def __init__(self, folder: Path, locks: Path) -> None:
        self._locks = locks
        self._accounts = _JsonFile(folder / ACCOUNTS, {"version": VERSION, "accounts": [], "activeIndex": -1})
        self._usage = _JsonFile(folder / USAGE, {"version": VERSION, "usage": {}})

    def accounts(self) -> list[Record]:
        """Every account, in the order they were added."""
        return _accounts_in(self._accounts.read(), self._accounts.path)

    def add_account(self, record: Record) -> None:
        """Add a new account; its `id` must be new."""

        def change(document: Document) -> None:
            known = _accounts_in(document, self._accounts.path)
            if any(row.get("id") == record["id"] for row in known):
                raise ValueError(f"the account {record['id']} is there already")
            document["accounts"] = [*known, record]

        self._change(self._accounts, change)

    def change_account(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """Set these fields, None removing one; see `Store.change_account`."""
        after: list[Record] = []

        def change(document: Document) -> bool:
            for row in _accounts_in(document, self._accounts.path):
                if row.get("id") != account_id:
                    continue
                after.append(row)
                if any(row.get(name) != value for name, value in (if_unchanged or {}).items()):
                    return False
                _set(row, fields)
                return True
            return False

        self._change(self._accounts, change)
        return dict(after[0]) if after else None

    def remove_account(self, account_id: str) -> bool:
        """Forget an account and its usage; whether it was there."""
        found: list[bool] = []

        def forget(document: Document) -> bool:
            active = _active_in(document, self._accounts.path)
            known = _accounts_in(document, self._accounts.path)
            left = document["accounts"] = [row for row in known if row.get("id") != account_id]
            document["activeIndex"] = next((n for n, row in enumerate(left) if row is active), -1)
            found.append(len(left) < len(known))
            return found[0]

        def forget_usage(document: Document) -> bool:
            return _usage_in(document, self._usage.path).pop(account_id, None) is not None

        self._change(self._accounts, forget)
        if found[0]:
            self._change(self._usage, forget_usage)
        return found[0]

    def active(self) -> str | None:
        """The account at `activeIndex`, as the original has it; see `Store.active`."""
        record = _active_in(self._accounts.read(), self._accounts.path)
        return None if record is None else str(record.get("id"))

    def note_active(self, account_id: str) -> None:
        """See `Store.note_active`."""

        def change(document: Document) -> bool:
            ids = [row.get("id") for row in _accounts_in(document, self._accounts.path)]
            if account_id not in ids or document.get("activeIndex") == ids.index(account_id):
                return False
            document["activeIndex"] = ids.index(account_id)
            return True

        self._change(self._accounts, change)

    def usage(self) -> dict[str, Record]:
        """Usage rows by account id."""
        return {key: dict(row) for key, row in _usage_in(self._usage.read(), self._usage.path).items()}

    def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of an account's usage row, None removing one; see `Store.change_usage`."""

        def change(document: Document) -> bool:
            # Read under the lock: a removal takes the account first and then, under it, this row.
            if all(row.get("id") != account_id for row in self.accounts()):
                return False
            _set(_usage_in(document, self._usage.path).setdefault(account_id, {}), fields)
            return True

        self._change(self._usage, change)

    @contextmanager
    def lock(self, name: str, *, timeout: float) -> Iterator[None]:
        """Exclude other threads and processes; the operating system frees the lock of a dead process."""
        lock = FileLock(self._locks / f"{name}.lock", mode=0o600, thread_local=False)
        try:
            self._locks.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock.acquire(timeout=timeout, poll_interval=0.01)
        except Timeout as error:
            raise StoreBusy(
                Failure(
                    code="KA-STORE",
                    message=f"Another program holds {lock.lock_file} for long.",
                    next_step="Look for a kiro-auth process that hangs, and end it.",
                )
            ) from error
        except OSError as error:
            raise _unusable(Path(lock.lock_file), error) from error
        try:
            yield
        finally:
            lock.release()

    def _change(self, file: _JsonFile, change: Callable[[Document], bool | None]) -> None:
        with self.lock(file.path.stem, timeout=_LOCK_SECONDS):
            document = file.read()
            if change(document) is not False:
                file.write(document)


class _JsonFile:
    """One document on disk, read once for each state of the file."""

    def __init__(self, path: Path, empty: Document) -> None:
        self.path = path
        self._empty = msgspec.json.encode(empty)
        self._seen: tuple[tuple[int, ...], bytes] | None = None

    def read(self) -> Document:
        """The document, the caller's to change.  Raises StoreFailed; the file stays as it is."""
        text = self._text()
        try:
            document = decoded(text if text.strip() else b"{}")
        except NotJson as error:
            raise _failed(
                f"{self.path} is not JSON: {error}.", "Correct it, or move it away and sign in again."
            ) from error
        if not isinstance(document, dict):
            raise _failed(f"{self.path} does not hold a JSON object.", "Move it away and sign in again.")
        version = document.get("version", VERSION)
        if version != VERSION:
            raise _failed(
                f"{self.path} has version {version!r}; this program knows version {VERSION}.",
                "Use the newer program that wrote it, or move the file away and sign in again.",
            )
        return msgspec.json.decode(self._empty, type=dict[str, Any]) | document

    def write(self, document: Document) -> None:
        """Replace the file in one step; the first time, keep a copy of what was there."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if MARK not in document:
                self._keep_copy()
                document[MARK] = {"since": _stamp()}
            replace_file(self.path, msgspec.json.format(msgspec.json.encode(document), indent=2))
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _text(self) -> bytes:
        seen = self._seen
        try:
            found = self.path.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen is not None and seen[0] == state:
                return seen[1]
            text = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise _unusable(self.path, error) from error
        settled = time.time_ns() - found.st_mtime_ns > _SETTLED_NS
        self._seen = (state, text) if settled else None
        return text

    def _keep_copy(self) -> None:
        text = self._text()
        if text.strip() not in (b"", b"{}"):
            replace_file(self.path.with_name(f"{self.path.name}.backup-{_stamp()}"), text)


def _accounts_in(document: Document, path: Path) -> list[Record]:
    rows = document["accounts"]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _failed(f"{path}: `accounts` is not a list of objects.", "Correct it, or move the file away.")
    return rows


def _active_in(document: Document, path: Path) -> Record | None:
    known, index = _accounts_in(document, path), document.get("activeIndex")
    return known[index] if isinstance(index, int) and 0 <= index < len(known) else None


def _usage_in(document: Document, path: Path) -> dict[str, Record]:
    rows = document["usage"]
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise _failed(f"{path}: `usage` is not an object of objects.", "Delete the file; it is only a copy.")
    return rows


def _set(row: Record, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if value is None:
            row.pop(name, None)
        else:
            row[name] = value


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _failed(message: str, next_step: str) -> StoreFailed:
    return StoreFailed(Failure(code="KA-STORE", message=message, next_step=next_step))


def _unusable(path: Path, error: OSError) -> StoreFailed:
    return _failed(
        f"{path} cannot be read or written: {error.strerror or error}.",
        "Check the folder's owner, its mode, and that the disk has space.",
    )
