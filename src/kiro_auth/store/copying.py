"""Accounts of one store put into another, with what is known of their usage."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from kiro_auth.failures import Failure
from kiro_auth.store.protocol import KeptStore, Record


class Copied(Struct, frozen=True):
    """The ids of the accounts that were added, and of those that were there already and stay as they are.

    `unreadable` are those of the source that cannot be opened, and why; they were left out.
    """

    added: tuple[str, ...]
    there_already: tuple[str, ...]
    unreadable: Mapping[str, Failure]


async def copy(source: KeptStore, target: KeptStore) -> Copied:
    """Add what `target` lacks; `source` stays as it is.  Raises StoreFailed."""
    found, there = await source.load(), await target.load()
    usage = found.usage_rows()
    present = {str(record.get("id")) for record in there.accounts} | there.unreadable.keys()
    added: list[str] = []
    already: list[str] = []
    for record in found.accounts:
        account_id = str(record.get("id"))
        if account_id in present:
            already.append(account_id)
            continue
        await target.add(_with_newest_tokens(source, record))
        if account_id in usage:
            await target.change_usage(account_id, usage[account_id])
        present.add(account_id)
        added.append(account_id)
    if found.active in added and there.active is None:
        await target.note_active(str(found.active))
    return Copied(tuple(added), tuple(already), found.unreadable)


def _with_newest_tokens(source: KeptStore, record: Record) -> Record:
    """The record, with new tokens that could not be saved yet: those in the record are spent then."""
    renewed = source.waiting(str(record.get("id")))
    if renewed is None or renewed.spent != record.get("refreshToken"):
        return record
    return {**record, **renewed.fields}
