"""A store with one account more, which is kept in memory only: the API key of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

from kiro_auth.store.store import Record, Store

KEY_VARIABLE: Final = "KIRO_API_KEY"
"""The environment variable whose key is an account of whatever process has it; it is never written down."""


class WithEphemeral:
    """`store`, and `record` as its last account; what is changed of that one is forgotten at the end."""

    def __init__(self, store: Store, record: Record) -> None:
        self._store = store
        self._record = dict(record)
        self._usage: Record = {}

    def is_ephemeral(self, account_id: str) -> bool:
        """Whether this is the account that is kept in memory only."""
        return bool(account_id == self._record["id"])

    def accounts(self) -> list[Record]:
        """Every account, the ephemeral one last."""
        return [*self._store.accounts(), dict(self._record)]

    def add_account(self, record: Record) -> None:
        """As the store has it."""
        self._store.add_account(record)

    def change_account(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """As the store has it."""
        if not self.is_ephemeral(account_id):
            return self._store.change_account(account_id, fields, if_unchanged=if_unchanged)
        if all(self._record.get(name) == value for name, value in (if_unchanged or {}).items()):
            self._record.update(fields)
        return dict(self._record)

    def remove_account(self, account_id: str) -> bool:
        """As the store has it; the ephemeral one is removed by unsetting its variable."""
        return self._store.remove_account(account_id)

    def active(self) -> str | None:
        """As the store has it."""
        return self._store.active()

    def note_active(self, account_id: str) -> None:
        """As the store has it, which knows nothing of the ephemeral one."""
        self._store.note_active(account_id)

    def usage(self) -> dict[str, Record]:
        """Usage rows by account id."""
        return {**self._store.usage(), **({self._record["id"]: dict(self._usage)} if self._usage else {})}

    def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """As the store has it."""
        if self.is_ephemeral(account_id):
            self._usage.update(fields)
        else:
            self._store.change_usage(account_id, fields)

    def lock(self, name: str, *, timeout: float) -> AbstractContextManager[None]:
        """As the store has it."""
        return self._store.lock(name, timeout=timeout)
