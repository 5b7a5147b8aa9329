"""A store in one SQLite file, for the processes of one user on one machine, and for many accounts.

Over the two JSON files it has this: a change writes a row and not all of them, and how many use an account,
and where conversations stay, is shared by all gateways of the machine.  Leases are the locks of `locks`, as
over files: the system frees them when a process ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store.ahead import FOLDER, AheadFiles
from kiro_auth.store.locks import Locks
from kiro_auth.store.protocol import Ahead, Credits, Homes, Places, Record, Renewed, Snapshot
from kiro_auth.store.rows import swapped, with_credits
from kiro_auth.store.sqlite_file import Change, SqliteFile, Version
from kiro_auth.store.sqlite_places import SqliteHomes, SqlitePlaces
from kiro_auth.store.together import Together
from kiro_auth.store.unopened import CannotOpen, Unopened, key_is_wrong
from kiro_auth.store.written import Writing

FILE: Final = "kiro-accounts.sqlite3"
"""Beside it, while it is open, SQLite's write-ahead log."""
Becomes: TypeAlias = Callable[[str, Record, Record], tuple[Record, Record]]
"""What becomes of an account's record and its usage; the very same objects for what stays."""
_COLUMNS: Final = "position, id, cast(record as blob), cast(usage as blob)"


class _Row(Struct, frozen=True):
    """A row of an account, and what it says; `usage_text` is None until something is known of its usage."""

    position: int
    account_id: str
    record_text: bytes
    usage_text: bytes | None
    record: Record
    usage: Record


class SqliteStore:
    """Accounts and usage in `folder`; lock files in `locks`.  Reading creates nothing.  See `Store`.

    A snapshot asks SQLite whether anything changed, and reads the rows that did, so it has others' changes at
    once.  Other processes may use the same file.
    """

    def __init__(self, folder: Path, locks: Path, writing: Writing) -> None:
        self._file = SqliteFile(folder / FILE)
        self._locks = Locks(locks)
        self._ahead = AheadFiles(locks.with_name(FOLDER), str((folder / FILE).absolute()))
        self._writing = writing
        self._changes: Together[Change] = Together(self._file.write)
        lightly: Together[Change] = Together(partial(self._file.write, durable=False))
        self._places = SqlitePlaces(self._file, lightly, locks)
        self._homes = SqliteHomes(self._file, lightly)
        self._seen = _Seen(self._file, writing)
        self.close = self._file.close
        """Closes the file; so does the end of the program."""

    @property
    def file(self) -> SqliteFile:
        """The file, for what else is kept there."""
        return self._file

    @property
    def ahead(self) -> Ahead:
        """See `Store.ahead`."""
        return self._ahead

    @property
    def places(self) -> Places:
        """See `Store.places`: of all processes that use the file."""
        return self._places

    @property
    def homes(self) -> Homes:
        """See `Store.homes`: of all processes that use the file."""
        return self._homes

    @property
    def seals(self) -> bool:
        """Whether records are sealed, and not in clear."""
        return self._writing.seals

    def waiting(self, account_id: str) -> Renewed | None:
        """The new tokens of an account that are kept ahead, as far as they can be seen without its lease."""
        return self._ahead.look(account_id)

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._seen.look()

    async def load(self) -> Snapshot:
        """See `Store.load`."""
        return await asyncio.to_thread(self.snapshot)

    async def add(self, record: Record) -> None:
        """See `Store.add`."""
        account_id = record["id"]
        text = self._writing.write(record, account_id)

        def add(connection: sqlite3.Connection) -> None:
            if _found(connection, account_id) is not None:
                raise ValueError(f"the account {account_id} is there already")
            connection.execute(
                "insert into accounts (id, revision, record) values (?, ?, ?)",
                [account_id, _next_revision(connection), text],
            )

        await self._changes.make(add)

    async def change(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """See `Store.change`."""
        after = await self._changed(
            [account_id], lambda _, record, usage: (swapped(record, fields, if_unchanged), usage)
        )
        return after[0] if after else None

    async def remove(self, account_id: str) -> bool:
        """See `Store.remove`; what is deleted is written over."""
        was_there: list[bool] = []

        def delete(connection: sqlite3.Connection) -> None:
            done = connection.execute("delete from accounts where id = ?", [account_id])
            was_there.append(done.rowcount > 0)
            connection.execute("update state set active = null where active = ?", [account_id])
            connection.execute("update state set removals = removals + 1")

        def remove() -> bool:
            self._file.write([delete])
            self._ahead.forget(account_id)
            self._file.empty_log()
            return was_there[0]

        return self._file.path.exists() and await asyncio.to_thread(remove)

    async def note_active(self, account_id: str) -> None:
        """See `Store.note_active`."""

        def note(connection: sqlite3.Connection) -> None:
            if _found(connection, account_id) is not None:
                connection.execute(
                    "update state set active = ? where active is not ?", [account_id, account_id]
                )

        await self._changes.make(note)

    async def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """See `Store.change_usage`."""
        await self._changed([account_id], lambda _, record, usage: (record, swapped(usage, fields)))

    async def add_credits(self, metered: Mapping[str, Credits]) -> None:
        """See `Store.add_credits`."""
        await self._changed(
            metered,
            lambda account_id, record, usage: (record, with_credits(usage, metered[account_id])),
            (CannotOpen,),
        )

    def lease(self, name: str, seconds: float, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
        """See `Store.lease`."""
        return self._locks.lease(name, seconds, wait=wait)

    async def clear_leftovers(self) -> None:
        """See `Store.clear_leftovers`: places of processes that ended, and conversations of long ago."""
        if self._file.path.exists():
            await asyncio.to_thread(self._file.write, [self._places.forget_ended, self._homes.forget_unused])

    async def write_anew(self) -> int:
        """Write as new ones are what is sealed with an older key, or not; how many accounts that were.

        What cannot be opened stays as it is.
        """
        old = [row.account_id for row in self._seen.rows() if not self._is_as_new(row)]
        if old:
            await self._changed(old, _as_new, (CannotOpen,))
            await asyncio.to_thread(self._file.empty_log)
        return len(old)

    def count_old(self) -> int:
        """How many of the accounts that can be opened are written otherwise than new ones would be."""
        return sum(not self._is_as_new(row) for row in self._seen.rows())

    def _is_as_new(self, row: _Row) -> bool:
        texts = [text for text in (row.record_text, row.usage_text) if text is not None]
        return all(map(self._writing.is_as_new, texts))

    async def _changed(
        self, account_ids: Iterable[str], becomes: Becomes, left_out: tuple[type[Exception], ...] = ()
    ) -> list[Record]:
        """The records of those accounts that are there, after the change; in one transaction."""
        after: list[Record] = []

        def change(connection: sqlite3.Connection) -> None:
            for account_id in account_ids:
                with contextlib.suppress(*left_out):
                    record = self._change_row(connection, account_id, becomes)
                    after.extend([record] if record is not None else [])

        await self._changes.make(change)
        return after

    def _change_row(self, connection: sqlite3.Connection, account_id: str, becomes: Becomes) -> Record | None:
        found = _found(connection, account_id)
        if found is None:
            return None
        _, _, record_text, usage_text = found
        record = self._writing.read_record(record_text, account_id)
        usage: Record = self._writing.read(usage_text, account_id) if usage_text is not None else {}
        new_record, new_usage = becomes(account_id, record, usage)
        if new_record is not record:
            record_text = self._writing.write(new_record, account_id)
        if new_usage is not usage:
            usage_text = self._writing.write(new_usage, account_id)
        if new_record is not record or new_usage is not usage:
            connection.execute(
                "update accounts set revision = ?, record = ?, usage = ? where id = ?",
                [_next_revision(connection), record_text, usage_text, account_id],
            )
        return new_record


class _Seen:
    """What was read of the file, so that only rows are read again that changed.  Any thread may use it."""

    def __init__(self, file: SqliteFile, writing: Writing) -> None:
        self._file = file
        self._writing = writing
        self._guard = threading.Lock()
        self._version: Version | None = None
        self._revision = self._removals = 0
        self._rows: dict[str, _Row] = {}
        self._unopened: dict[str, Unopened] = {}
        self._snapshot = Snapshot(by_id={})
        self._failure: Failure | None = None

    def look(self) -> Snapshot:
        """What the file holds now; the same object as long as nothing changed.  Raises StoreFailed."""
        with self._guard:
            version = self._file.version()
            if version != self._version:
                if version is None or self._version is None or version[0] != self._version[0]:
                    self._version, self._revision, self._removals = None, 0, 0
                    self._rows, self._unopened, self._failure = {}, {}, None
                    self._snapshot = Snapshot(by_id={})
                self._file.read(self._read, None)
                self._version = version
            if self._failure is not None:
                raise StoreFailed(self._failure)
            return self._snapshot

    def rows(self) -> list[_Row]:
        """The rows that can be opened, in the order that the accounts were added.  Raises StoreFailed."""
        self.look()
        with self._guard:
            return sorted(self._rows.values(), key=lambda row: row.position)

    def _read(self, connection: sqlite3.Connection) -> None:
        revision, removals, active = connection.execute(
            "select revision, removals, active from state"
        ).fetchone()
        gone: set[str] = set()
        changed: list[_Row] = []
        if removals != self._removals:
            there = {account_id for (account_id,) in connection.execute("select id from accounts")}
            gone = (self._rows.keys() | self._unopened.keys()) - there
            for account_id in self._unopened.keys() - there:
                del self._unopened[account_id]
        if revision != self._revision:
            # Asked for in the order of positions, SQLite would read all rows and not use the index.
            query = f"select {_COLUMNS} from accounts where revision > ?"  # noqa: S608
            for position, account_id, *texts in connection.execute(query, [self._revision]):
                try:
                    changed.append(self._opened(position, account_id, *texts))
                    self._unopened.pop(account_id, None)
                except CannotOpen as error:
                    self._unopened[account_id] = error.why
                    gone.add(account_id)
            changed.sort(key=lambda row: row.position)
        self._take(changed, gone, active)
        self._failure = key_is_wrong(self._unopened, len(self._rows) + len(self._unopened))
        self._revision, self._removals = revision, removals

    def _take(self, changed: Sequence[_Row], gone: Collection[str], active: str | None) -> None:
        """Put rows in and others out: what did not change stays the same object, and costs little."""
        last = self._snapshot
        by_id, usage, before = dict(last.by_id or {}), dict(last.usage), self._rows
        for account_id in gone:
            for each in (before, by_id, usage):
                each.pop(account_id, None)
        newest = before[next(reversed(by_id))].position if by_id else 0
        is_back = False  # whether any could not be opened before, and has its old place
        for row in changed:
            known = before.get(row.account_id)
            is_back = is_back or (known is None and row.position < newest)
            if known is not None and known.position != row.position:
                by_id.pop(row.account_id)  # it was removed, and added again as the last one
                usage.pop(row.account_id, None)
            before[row.account_id], by_id[row.account_id] = row, row.record
            if row.usage_text is not None:
                usage[row.account_id] = row.usage
        if is_back:
            by_id = dict(sorted(by_id.items(), key=lambda item: before[item[0]].position))
        accounts = tuple(by_id.values())
        same = accounts == last.accounts
        self._snapshot = Snapshot(
            last.accounts if same else accounts,
            last.usage if usage == last.usage else usage,
            active,
            None,
            last.by_id if same else by_id,
            {account_id: why.failure for account_id, why in self._unopened.items()},
        )

    def _opened(self, position: int, account_id: str, record_text: bytes, usage_text: bytes | None) -> _Row:
        known = self._rows.get(account_id)
        if known is not None and known.record_text == record_text:
            record = known.record
        else:
            record = self._writing.read_record(record_text, account_id)
        usage = self._writing.read(usage_text, account_id) if usage_text is not None else {}
        return _Row(position, account_id, record_text, usage_text, record, usage)


def _as_new(_: str, record: Record, usage: Record) -> tuple[Record, Record]:
    return dict(record), dict(usage) if usage else usage


def _found(connection: sqlite3.Connection, account_id: str) -> tuple[Any, ...] | None:
    found = connection.execute(f"select {_COLUMNS} from accounts where id = ?", [account_id])  # noqa: S608
    row: tuple[Any, ...] | None = found.fetchone()
    return row


def _next_revision(connection: sqlite3.Connection) -> int:
    connection.execute("update state set revision = revision + 1")
    return int(connection.execute("select revision from state").fetchone()[0])
