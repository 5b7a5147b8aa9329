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

    def audit(self) -> list[AuditRow]:
        """The rows, the oldest first.  Raises StoreFailed."""
