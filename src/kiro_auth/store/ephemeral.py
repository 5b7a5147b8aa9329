"""A store with one account more, which is kept in memory only: the API key of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from kiro_auth.store.protocol import Ahead, Credits, Homes, Places, Record, Snapshot, Store
from kiro_auth.store.rows import swapped, with_credits


class WithEphemeral:
    """`store`, and `record` as its last account; what is changed of that one is forgotten at the end.

    It is removed by unsetting its variable, and the store does not note that it is in use.
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._store = store
        self._record = record
        self._usage: Record = {}
        self._seen: tuple[tuple[Record, ...], Record, tuple[Record, ...]] = ((), record, (record,))

    def is_ephemeral(self, account_id: str) -> bool:
        """Whether this is the account that is kept in memory only."""
        return bool(account_id == self._record["id"])

    @property
    def ahead(self) -> Ahead:
        """See `Store.ahead`."""
        return self._store.ahead

    @property
    def places(self) -> Places:
        """See `Store.places`."""
        return self._store.places

    @property
    def homes(self) -> Homes:
        """See `Store.homes`."""
        return self._store.homes

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        return self._with_own(self._store.snapshot())

    async def load(self) -> Snapshot:
        """See `Store.load`."""
        return self._with_own(await self._store.load())

    async def add(self, record: Record) -> None:
        """See `Store.add`."""
        if self.is_ephemeral(record["id"]):
            raise ValueError(f"the account {record['id']} is there already")
        await self._store.add(record)

    async def change(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """See `Store.change`."""
        if not self.is_ephemeral(account_id):
            return await self._store.change(account_id, fields, if_unchanged=if_unchanged)
        self._record = swapped(self._record, fields, if_unchanged)
        return self._record

    async def remove(self, account_id: str) -> bool:
        """See `Store.remove`."""
        return await self._store.remove(account_id)

    async def note_active(self, account_id: str) -> None:
        """See `Store.note_active`."""
        await self._store.note_active(account_id)

    async def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """See `Store.change_usage`."""
        if self.is_ephemeral(account_id):
            self._usage = swapped(self._usage, fields)
        else:
            await self._store.change_usage(account_id, fields)

    async def add_credits(self, metered: Mapping[str, Credits]) -> None:
        """See `Store.add_credits`."""
        others = {
            account: credits_ for account, credits_ in metered.items() if not self.is_ephemeral(account)
        }
        for account in metered.keys() - others.keys():
            self._usage = with_credits(self._usage, metered[account])
        if others:
            await self._store.add_credits(others)

    async def clear_leftovers(self) -> None:
        """See `Store.clear_leftovers`."""
        await self._store.clear_leftovers()

    def lease(self, name: str, seconds: float, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
        """See `Store.lease`."""
        return self._store.lease(name, seconds, wait=wait)

    def _with_own(self, snapshot: Snapshot) -> Snapshot:
        others, record, joined = self._seen
        if others is not snapshot.accounts or record is not self._record:
            joined = (*snapshot.accounts, self._record)
            self._seen = snapshot.accounts, self._record, joined
        usage = {**snapshot.usage, self._record["id"]: self._usage} if self._usage else snapshot.usage
        return Snapshot(
            joined, usage, snapshot.active, snapshot.usage_failure, unreadable=snapshot.unreadable
        )
