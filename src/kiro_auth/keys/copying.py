"""Client keys of one store put into another, with their audit."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kiro_auth.keys.protocol import KeyStore


def copy(source: KeyStore, target: KeyStore, *, accounts: Sequence[str] | None = None) -> int:
    """Add the keys that `target` lacks, by their ids and names; how many.  Raises StoreFailed.

    With `accounts`, all ids of one owner, a key that could use all of these names them from now on, as where
    it comes there are other people's too; where there are none, it is left out.
    """
    keys = list(source.keys())
    if accounts is not None:
        named = (key if key.accounts else replace(key, accounts=tuple(accounts)) for key in keys)
        keys = [key for key in named if key.accounts]
    return target.add_missing(keys, source.audit())
