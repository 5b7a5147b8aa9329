"""The default store: the original plugin's two JSON files, shared by any number of processes.

Every change is: lock, read again, change only the named fields, write aside, fsync, rename.  Fields and
top-level keys we do not know are kept.  Before the first change of a file that this program has not written
yet, a dated copy is kept beside it.

The secrets of records may be kept apart, in the system's keyring (`apart`): what the methods here take and
give are whole records all the same.

All waiting is done by threads, and all threads are in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from kiro_auth.failures import StoreFailed
from kiro_auth.json_values import as_object
from kiro_auth.store.ahead import FOLDER, AheadFiles
from kiro_auth.store.apart import MARK, Apart, secrets_of
from kiro_auth.store.json_file import Document, JsonFile, failed
from kiro_auth.store.local import LocalHomes, LocalPlaces
from kiro_auth.store.locks import Locks
from kiro_auth.store.moving import Moved, Moving, all_without_secrets
from kiro_auth.store.protocol import Ahead, Credits, Homes, Places, Record, Renewed, Snapshot
from kiro_auth.store.rows import swapped, with_credits
from kiro_auth.store.system_keyring import SystemKeyring
from kiro_auth.store.together import Outcome, Together

ACCOUNTS: Final = "kiro-accounts.json"
USAGE: Final = "kiro-usage.json"
Change: TypeAlias = Callable[[Document], bool | None]
"""Changes a document in place; False: there is nothing to write."""
_LOCK_SECONDS: Final = 15.0
"""The longest wait for another process that changes a file."""


class FileStore:
    """Accounts and usage in `folder`; lock files in `locks`.  Reading creates nothing.  See `Store`.

    A snapshot looks at both files (a stat each) and decodes what changed, so it has others' changes at once;
    where secrets are kept apart, the new ones of others a moment later.  `apart` keeps them; None: secrets
    that come new are kept in the file, and those that are apart already stay there.
    """

    def __init__(self, folder: Path, locks: Path, apart: Apart | None = None) -> None:
        self._locks = Locks(locks)
        self._accounts = JsonFile(folder / ACCOUNTS, {"accounts": [], "activeIndex": -1}, _accounts_in)
        self._usage = JsonFile(folder / USAGE, {"usage": {}}, _usage_in)
        self._ahead = AheadFiles(locks.with_name(FOLDER), str(self._accounts.path.absolute()))
        self._apart = apart or Apart(SystemKeyring(), keeps_new=lambda: False)
        self._view: tuple[_Held, _Held] | None = None  # of the file, and with what is kept apart
        self._account_changes = Together(partial(self._made, self._accounts))
        self._usage_changes = Together(partial(self._made, self._usage))
        self.places: Places = LocalPlaces()
        """See `Store.places`."""
        self.homes: Homes = LocalHomes()
        """See `Store.homes`."""

    @property
    def ahead(self) -> Ahead:
        """See `Store.ahead`."""
        return self._ahead

    def waiting(self, account_id: str) -> Renewed | None:
        """The new tokens of an account that are kept ahead, as far as they can be seen without its lease."""
        return self._ahead.look(account_id)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._snapshot(self._held_whole())

    def _snapshot(self, held: _Held) -> Snapshot:
        try:
            usage, failure = self._usage.look(), None
        except StoreFailed as error:
            usage, failure = {}, error.failure
        return Snapshot(held.records, usage, held.active, failure, held.by_id)

    async def load(self) -> Snapshot:
        """See `Store.load`."""

        def load() -> Snapshot:
            held = self._accounts.look()
            if held.is_marked and self._apart.fetch(held.records, self._current):
                self._view = None
            return self.snapshot()

        return await asyncio.to_thread(load)

    async def add(self, record: Record) -> None:
        """See `Store.add`."""

        def add(document: Document) -> None:
            rows = _entries_in(document, self._accounts.path)
            if record["id"] in map(_id, rows):
                raise ValueError(f"the account {record['id']} is there already")
            document["accounts"] = [*rows, self._apart.keep(record, None, on_disk=None)]

        await self._account_changes.make(add)

    async def change(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """See `Store.change`."""
        after: list[Record] = []

        def change(document: Document) -> bool:
            rows = _entries_in(document, self._accounts.path)
            for number, row in enumerate(rows):
                if _id(row) == account_id:
                    before = self._apart.whole(row)
                    after.append(swapped(before, fields, if_unchanged))
                    if after[0] is before:
                        return False
                    on_disk = self._current(account_id)
                    rows[number] = self._apart.keep(after[0], before, on_disk=on_disk)
                    return True
            return False

        await self._account_changes.make(change)
        return after[0] if after else None

    async def remove(self, account_id: str) -> bool:
        """See `Store.remove`."""

        def without(document: Document) -> Document:
            return _without(document, account_id, self._accounts.path)

        def forget_usage(document: Document) -> bool:
            return _usage_entries(document, self._usage.path).pop(account_id, None) is not None

        def remove() -> bool:
            with self._held(self._accounts):
                document = self._accounts.read()
                left = without(document)
                if left is document:
                    return False
                # First, as nobody would find them there once the record is gone.
                self._apart.forget(self._current(account_id) or {})
                self._accounts.write(left, forgotten=without)
            self._ahead.forget(account_id)
            self._made(self._usage, [forget_usage])
            with self._held(self._accounts):
                self._accounts.forget_in_copies(without)
            return True

        return await asyncio.to_thread(remove)

    async def move_secrets(self, *, give_up: bool = False) -> Moved:
        """Move all secrets to where those that come new are kept: apart, or into the file.

        With `give_up` those that the keyring does not give are let go, and their accounts are to be signed in
        again.  Raises StoreFailed; until all can be moved, none is.
        """

        def move() -> Moved:
            with self._held(self._accounts):
                return Moving(self._accounts, self._apart).move(give_up=give_up)

        return await asyncio.to_thread(move)

    def kept_secrets(self) -> Kept:
        """Where the secrets are, without waiting.  Raises StoreFailed."""
        records = self._accounts.look().records
        in_keyring = sum(MARK in record for record in records)
        return Kept(in_keyring, sum(bool(secrets_of(record)) for record in records))

    def open_keyring(self) -> str:
        """What the keyring is called, waiting for it.  Raises StoreFailed when it does not open."""
        return self._apart.describe()

    def count_waiting(self) -> int:
        """Of how many accounts new tokens are kept ahead, as far as that can be seen without leases."""
        return sum(self._ahead.look(account_id) is not None for account_id in self._accounts.look().by_id)

    async def note_active(self, account_id: str) -> None:
        """See `Store.note_active`; the original calls it `activeIndex`."""

        def note(document: Document) -> bool:
            ids = [_id(row) for row in _entries_in(document, self._accounts.path)]
            if account_id not in ids or document.get("activeIndex") == ids.index(account_id):
                return False
            document["activeIndex"] = ids.index(account_id)
            return True

        await self._account_changes.make(note)

    async def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """See `Store.change_usage`."""
        await self._change_usage({account_id}, lambda _, row: swapped(row, fields))

    async def add_credits(self, metered: Mapping[str, Credits]) -> None:
        """See `Store.add_credits`."""
        await self._change_usage(
            metered.keys(), lambda account_id, row: with_credits(row, metered[account_id])
        )

    def lease(self, name: str, seconds: float, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
        """See `Store.lease`."""
        return self._locks.lease(name, seconds, wait=wait)

    async def _change_usage(self, account_ids: Set[str], after: Callable[[str, Record], Record]) -> None:
        """Change the rows of those accounts that are there; `after` says, by id, what becomes of one."""

        def change(document: Document) -> bool:
            # Asked under the lock: a removal takes the account first and then, under it, its row.
            present = account_ids & self._accounts.look().by_id.keys()
            rows = _usage_entries(document, self._usage.path)
            rows |= {account_id: after(account_id, as_object(rows.get(account_id))) for account_id in present}
            return bool(present)

        await self._usage_changes.make(change)

    async def clear_leftovers(self) -> None:
        """See `Store.clear_leftovers`."""

        def clear() -> None:
            for file in (self._accounts, self._usage):
                with self._held(file):
                    file.clear_leftovers()

        await asyncio.to_thread(clear)

    def _held_whole(self) -> _Held:
        """What the file says, with what is kept apart."""
        held = self._accounts.look()
        if not held.is_marked and not self._apart.knows_any():
            return held
        if self._view is not None and self._view[0] is held:
            return self._view[1]
        is_complete = self._apart.is_complete(held.records)
        view = _Held.of(self._apart.seen(held.records, self._current), held.active)
        self._view = (held, view) if is_complete else None
        return view

    def _current(self, account_id: str) -> Record | None:
        return self._accounts.look().by_id.get(account_id)

    def _held(self, file: JsonFile[Any]) -> AbstractContextManager[None]:
        return self._locks.held(file.path.stem, wait=_LOCK_SECONDS)

    def _made(self, file: JsonFile[Any], changes: Sequence[Change]) -> list[Outcome]:
        """Make changes of a document and write it, unless each says by False that there is nothing to write.

        One that raises has changed nothing, and hinders no other.
        """
        outcomes: list[Outcome] = []
        with self._held(file):
            document, is_changed = file.read(), False
            for change in changes:
                try:
                    is_changed = change(document) is not False or is_changed
                except (StoreFailed, ValueError) as error:
                    outcomes.append(error)
                else:
                    outcomes.append(None)
            is_written = False
            try:
                if is_changed:
                    file.write(document, forgotten=self._copied if file is self._accounts else None)
                    is_written = True
            finally:
                if file is self._accounts:
                    self._apart.tidy(written=is_written)
        return outcomes

    def _copied(self, document: Document) -> Document:
        """What a copy of the file as it was may hold: no secret, where these are to be in no file."""
        return all_without_secrets(document) if self._apart.keeps_new() else document


class Kept(Struct, frozen=True):
    """Of how many accounts secrets are kept apart, and of how many some stand in the file."""

    in_keyring: int
    in_file: int


class _Held(Struct, frozen=True):
    """What the file of accounts says; `by_id` has the first record of each id."""

    records: tuple[Record, ...]
    active: str | None
    by_id: Mapping[str, Record]
    is_marked: bool = False
    """Whether secrets of any are kept apart."""

    @classmethod
    def of(cls, records: tuple[Record, ...], active: str | None) -> _Held:
        by_id = {str(record.get("id")): record for record in reversed(records)}
        return cls(records, active, by_id, any(MARK in record for record in records))


def _accounts_in(document: Document, path: Path) -> _Held:
    """An entry that is no object is one without anything in it, which nobody can read as an account."""
    active = as_object(_active_in(document, path))
    records = tuple(as_object(entry) for entry in _entries_in(document, path))
    return _Held.of(records, str(active["id"]) if "id" in active else None)


def _entries_in(document: Document, path: Path) -> list[Any]:
    entries = document["accounts"]
    if not isinstance(entries, list):
        raise failed(f"{path}: `accounts` is not a list.", "Correct it, or move the file away.")
    return entries


def _without(document: Document, account_id: str, path: Path) -> Document:
    """The document without an account; its active one, if that is another, stays it."""
    active, rows = _active_in(document, path), _entries_in(document, path)
    left = [row for row in rows if _id(row) != account_id]
    if len(left) == len(rows):
        return document
    index = next((number for number, row in enumerate(left) if row is active), -1)
    return {**document, "accounts": left, "activeIndex": index}


def _id(entry: Any) -> Any:
    return as_object(entry).get("id")


def _active_in(document: Document, path: Path) -> Any:
    entries, index = _entries_in(document, path), document.get("activeIndex")
    return entries[index] if isinstance(index, int) and 0 <= index < len(entries) else None


def _usage_in(document: Document, path: Path) -> dict[str, Record]:
    rows = _usage_entries(document, path)
    return {account_id: row for account_id, row in rows.items() if isinstance(row, dict)}


def _usage_entries(document: Document, path: Path) -> dict[str, Any]:
    rows = document["usage"]
    if not isinstance(rows, dict):
        raise failed(f"{path}: `usage` is not an object.", "Delete the file; it is only a copy.")
    return rows
