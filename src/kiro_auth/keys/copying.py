"""Client keys of one store put into another, with their audit."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.keys.protocol import KeyStore


class Copied(Struct, frozen=True):
    """How many keys were added, and the names of those that were not: they let nobody in at the target."""

    added: int
    left_out: tuple[str, ...]


def copy(source: KeyStore, target: KeyStore, *, accounts: Sequence[str] | None = None) -> Copied:
    """Add the keys that `target` lacks, by their ids and names.  Raises StoreFailed.

    With `accounts`, all ids of one owner, a key that could use all of these names them from now on, as where
    it comes there are other people's too; where there are none, it is left out.
    """
    keys = found = list(source.keys())
    if accounts is not None:
        named = (key if key.accounts else replace(key, accounts=tuple(accounts)) for key in found)
        keys = [key for key in named if key.accounts]
    added = target.add_missing(keys, source.audit())
    there = {key.id for key in target.keys()}  # noqa: SIM118 (no mapping)
    return Copied(added, tuple(key.name for key in found if key.revoked is None and key.id not in there))
