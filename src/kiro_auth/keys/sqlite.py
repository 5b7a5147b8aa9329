"""Client keys and their audit in the SQLite file of the store, changed together in one transaction."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence

import msgspec

from kiro_auth.events import noted
from kiro_auth.keys.key import ClientKey
from kiro_auth.keys.protocol import AuditRow, Change, missing
from kiro_auth.store.sqlite_file import Change as Work
from kiro_auth.store.sqlite_file import SqliteFile, Version

log = logging.getLogger("kiro_auth.keys")


class SqliteKeys:
    """See `KeyStore`.  Any thread may use it."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._version: Version | None = None
        self._revision: tuple[int, int] | None = None  # of the opening of the file, and of the keys in it
        self._keys: tuple[ClientKey, ...] = ()

    def keys(self) -> Sequence[ClientKey]:
        """See `KeyStore.keys`; the keys are read when they changed, not when something else did."""
        with self._guard:
            version = self._file.version()
            if version != self._version:
                self._file.read(lambda connection: self._look(connection, version), None)
                if version is None:
                    self._keys, self._revision = self._keys and (), None
                self._version = version
            return self._keys

    def change(self, decide: Change) -> ClientKey:
        """See `KeyStore.change`."""
        after: list[ClientKey] = []

        def change(connection: sqlite3.Connection) -> None:
            changed = decide(_read(connection))
            _put(connection, changed.key)
            _enter(connection, changed.row)
            _note_change(connection)
            after.append(changed.key)

        self._make(change)
        return after[0]

    def add_missing(self, keys: Sequence[ClientKey], rows: Sequence[AuditRow]) -> int:
        """See `KeyStore.add_missing`."""
        added: list[ClientKey] = []

        def add(connection: sqlite3.Connection) -> None:
            new_keys, new_rows = missing(keys, rows, _read(connection), _audit(connection))
            for key in new_keys:
                _put(connection, key)
            for row in new_rows:
                _enter(connection, row)
            if new_keys:
                _note_change(connection)
            added.extend(new_keys)

        self._make(add)
        return len(added)

    def audit(self) -> list[AuditRow]:
        """See `KeyStore.audit`."""
        return self._file.read(_audit, [])

    def _make(self, work: Work) -> None:
        (outcome,) = self._file.write([work])
        if outcome is not None:
            raise outcome

    def _look(self, connection: sqlite3.Connection, version: Version | None) -> None:
        (revision,) = connection.execute("select keys_revision from state").fetchone()
        opening = version[0] if version is not None else 0
        if (opening, revision) != self._revision:
            keys = _read(connection)
            self._keys, self._revision = self._keys if keys == self._keys else keys, (opening, revision)


def _read(connection: sqlite3.Connection) -> tuple[ClientKey, ...]:
    found = connection.execute("select key from keys order by position").fetchall()
    return tuple(key for (text,) in found if (key := _opened(text)) is not None)


def _opened(text: str) -> ClientKey | None:
    """None for a key that cannot be read, with which nobody comes in."""
    try:
        return msgspec.json.decode(text, type=ClientKey)
    except msgspec.MsgspecError:
        log.warning("a client key in the database cannot be read", extra=noted("keys", state="unreadable"))
        return None


def _put(connection: sqlite3.Connection, key: ClientKey) -> None:
    connection.execute(
        "insert into keys (id, key) values (?, ?) on conflict (id) do update set key = excluded.key",
        [key.id, msgspec.json.encode(key).decode()],
    )


def _note_change(connection: sqlite3.Connection) -> None:
    connection.execute("update state set keys_revision = keys_revision + 1")


def _enter(connection: sqlite3.Connection, row: AuditRow) -> None:
    connection.execute(
        "insert into key_audit (moment, who, what, key_id, key_name, limits) values (?, ?, ?, ?, ?, ?)",
        [row.when, row.who, row.what, row.id, row.name, msgspec.json.encode(row.limits).decode()],
    )


def _audit(connection: sqlite3.Connection) -> list[AuditRow]:
    found = connection.execute(
        "select moment, who, what, key_id, key_name, limits from key_audit order by moment, number"
    )
    return [
        AuditRow(when=when, who=who, what=what, id=id_, name=name, limits=msgspec.json.decode(limits))
        for when, who, what, id_, name, limits in found.fetchall()
    ]
