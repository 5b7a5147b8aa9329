"""What a store offers: records by id, changed field by field, and locks between processes.

A store keeps records; it does not judge them.  Field names are those of the original plugin's files, so
that both programs can read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from kiro_auth.failures import StoreFailed

Record: TypeAlias = dict[str, Any]
"""One account or usage row as it is kept, unknown fields included."""


class StoreBusy(StoreFailed):
    """Another holds the lock."""


class Store(Protocol):
    """All calls block for as long as a file operation takes and raise StoreFailed, nothing else."""

    def accounts(self) -> list[Record]:
        """Every account, in the order they were added.  Cheap when nothing changed since the last call."""

    def add_account(self, record: Record) -> None:
        """Add a new account; its `id` must be new."""

    def change_account(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """Set these fields and no others; the record afterwards, or None when it is gone.

        With `if_unchanged` nothing is written unless those fields still hold those values; the record as it
        stands is returned either way.
        """

    def remove_account(self, account_id: str) -> bool:
        """Forget an account and its usage for good; whether it was there."""

    def active(self) -> str | None:
        """The id of the account that was noted as the one in use, if it is there still."""

    def note_active(self, account_id: str) -> None:
        """Note which account is in use; one that is not there is not noted."""

    def usage(self) -> dict[str, Record]:
        """Usage rows by account id."""

    def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of an account's usage row; of an account that is not there nothing is kept."""

    def lock(self, name: str, *, timeout: float) -> AbstractContextManager[None]:
        """Exclude other threads and processes from `name` (`refresh-<account id>`, …) for a block.

        Raises StoreBusy when another holds the lock for `timeout` seconds; 0 does not wait.
        """
