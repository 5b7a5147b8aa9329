"""The accounts whose new token waits to be saved: the store still has the one that it has spent."""

from __future__ import annotations

from kiro_auth.accounts.account import account_of
from kiro_auth.failures import StoreFailed
from kiro_auth.store.files import FileStore


def unsaved(store: FileStore) -> list[str]:
    """Their names.  Raises StoreFailed."""
    names = []
    for record in store.snapshot().accounts:
        renewed = store.waiting(str(record.get("id")))
        if renewed is not None and renewed.spent == record.get("refreshToken"):
            try:
                names.append(account_of(record).name)
            except StoreFailed:
                continue  # it is told as one that cannot be read
    return names
