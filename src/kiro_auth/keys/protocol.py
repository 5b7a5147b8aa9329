"""What any store of client keys offers: files here, a database elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from kiro_auth.keys.key import ClientKey

What: TypeAlias = Literal["create", "revoke", "rotate"]


class AuditRow(Struct, frozen=True, kw_only=True):
    """That `who` (a user of this machine) did `what` to a key at `when` (epoch seconds).

    `limits` are those that a new key was given.
    """

    when: float
    who: str
    what: What
    id: str
    name: str
    limits: dict[str, Any] = {}


class Changed(Struct, frozen=True):
    """A key as it is from now on, and the row that tells of it."""

    key: ClientKey
    row: AuditRow


Change: TypeAlias = Callable[[Sequence[ClientKey]], Changed]
"""Decides by the keys that there are; it may be asked again, and raises ConfigFailed to change nothing."""


class KeyStore(Protocol):
    """Keys stay when they are revoked, so that their names and figures can be told."""

    def keys(self) -> Sequence[ClientKey]:
        """All of them; the same object as long as none changed.  Quick.  Raises StoreFailed."""

    def change(self, decide: Change) -> ClientKey:
        """Put the key that is decided in the place of the one of its id, or add it.

        Between `decide` and the change no other change comes.  Raises StoreFailed, and what `decide` raises.
        """

    def add_missing(self, keys: Sequence[ClientKey], rows: Sequence[AuditRow]) -> int:
        """Add what is not there, as `missing` says, in one step; how many keys.  Raises StoreFailed."""

    def audit(self) -> list[AuditRow]:
        """The rows, the oldest first.  Raises StoreFailed."""


def missing(
    keys: Sequence[ClientKey],
    rows: Sequence[AuditRow],
    present: Sequence[ClientKey],
    entered: Sequence[AuditRow],
) -> tuple[list[ClientKey], list[AuditRow]]:
    """The keys whose ids, and names if they are not revoked, are not `present`, and the rows of these.

    Rows of keys that are there in both are added as far as they are not `entered`.
    """
    ids = {key.id for key in present}
    names = {key.name for key in present if key.revoked is None}
    new = [key for key in keys if key.id not in ids and (key.revoked is not None or key.name not in names)]
    known = ids | {key.id for key in new}
    there = [(row.id, row.what, row.who, round(row.when, 3)) for row in entered]
    return new, [
        row
        for row in rows
        if row.id in known and (row.id, row.what, row.who, round(row.when, 3)) not in there
    ]
