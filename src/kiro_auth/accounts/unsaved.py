"""The accounts whose new token waits to be saved: the store still has the one that it has spent."""

from __future__ import annotations

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import readable
from kiro_auth.store.protocol import KeptStore


def unsaved(store: KeptStore) -> list[str]:
    """Their names.  Raises StoreFailed."""
    accounts, _ = readable(store.snapshot().accounts)
    return [account.name for account in accounts if _waits(store, account)]


def _waits(store: KeptStore, account: Account) -> bool:
    renewed = store.waiting(account.id)
    return renewed is not None and renewed.spent == account.refresh_token
