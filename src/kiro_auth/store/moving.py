"""All secrets of a file moved into the system's keyring, or back.

The file is replaced as a whole when every secret is at its new place, so a kill on the way leaves the old
ones in force.  Into the keyring: each is read back before the file forgets it, and the copies of the file
that were kept from before forget it too.  Back: the file has the secrets first, while it still names the
keyring's entries, then those go, then their names.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from kiro_auth.failures import StoreFailed
from kiro_auth.json_values import as_object
from kiro_auth.store.apart import MARK, Apart, lost, secrets_of, without_secrets
from kiro_auth.store.json_file import Document, JsonFile
from kiro_auth.store.protocol import Record

_DONE: Final = "The tokens are in the system's keyring"


class Moved(Struct, frozen=True):
    """The ids of the accounts whose secrets were moved, and of those that gave theirs up."""

    moved: tuple[str, ...]
    given_up: tuple[str, ...] = ()


class Moving:
    """Moves the secrets of a file; for those alone who exclude its other writers."""

    def __init__(self, file: JsonFile[Any], apart: Apart) -> None:
        self._file = file
        self._apart = apart

    def move(self, *, give_up: bool) -> Moved:
        """Move all to where new ones are kept.  Raises StoreFailed."""
        document = self._file.read()
        rows: list[Record] = [as_object(entry) for entry in document["accounts"]]
        return (
            self._to_keyring(document, rows)
            if self._apart.keeps_new()
            else self._back(document, rows, give_up)
        )

    def _to_keyring(self, document: Document, rows: list[Record]) -> Moved:
        moved = {str(row.get("id")) for row in rows if secrets_of(row)}
        if moved:
            after = [self._put(row) if secrets_of(row) else row for row in rows]
            self._file.write({**document, "accounts": after}, forgotten=all_without_secrets)
            self._apart.tidy(written=True)
        ids = {str(row.get("id")) for row in rows}
        self._file.forget_in_copies(lambda copy: _without_secrets_of(ids, copy), done=_DONE)
        return Moved(tuple(sorted(moved)))

    def _put(self, row: Record) -> Record:
        whole = self._apart.whole(row)
        kept = self._apart.put(whole, row)
        self._apart.check(kept)
        return kept

    def _back(self, document: Document, rows: list[Record], give_up: bool) -> Moved:
        moved: dict[str, Record] = {}
        given_up: list[str] = []
        after: list[Record] = []
        for row in rows:
            if MARK not in row:
                after.append(row)
                continue
            account_id = str(row.get("id"))
            whole = self._whole(row, give_up)
            if secrets_of(whole):
                moved[account_id] = row
            else:
                given_up.append(account_id)
            after.append(whole)
        if not moved and not given_up:
            return Moved(())
        named = [
            {**whole, MARK: row[MARK]} if MARK in row else row for whole, row in zip(after, rows, strict=True)
        ]
        self._file.write({**document, "accounts": named})
        for row in moved.values():
            self._forget(row, give_up)
        document = self._file.read()
        self._file.write({**document, "accounts": after})
        return Moved(tuple(moved), tuple(given_up))

    def _whole(self, row: Record, give_up: bool) -> Record:
        try:
            return self._apart.whole(row)
        except StoreFailed:
            if not give_up:
                raise
            return lost(row)

    def _forget(self, row: Record, give_up: bool) -> None:
        try:
            self._apart.forget(row)
        except StoreFailed:
            if not give_up:
                raise


def all_without_secrets(document: Document) -> Document:
    """The accounts' document with no secret in it."""
    return {**document, "accounts": [without_secrets(as_object(row)) for row in document["accounts"]]}


def _without_secrets_of(account_ids: set[str], document: Document) -> Document:
    rows = [
        without_secrets(row) if as_object(row).get("id") in account_ids else row
        for row in document["accounts"]
    ]
    return {**document, "accounts": rows}
