"""One client key: who holds it, and what it may be used for.  Of the secret itself only a hash is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Period: TypeAlias = Literal["day", "month"]

PREFIX: Final = "kak_"
"""How every client key begins, so that people and scanners of secrets know one when they see it."""
_RANDOM_BYTES: Final = 32
"""So many that no key can be guessed, and a plain hash of one tells nothing of it."""
NAME: Final = r"\w[\w.-]{0,59}"
"""What a key may be called: the name stands in logs, so it can be no e-mail."""


class Budget(Struct, frozen=True):
    """Credits that may be spent in each day or month of this machine's zone."""

    credits: float
    period: Period

    def __str__(self) -> str:
        return f"{self.credits:g} credits a {self.period}"


class ClientKey(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key.  Its `id` stays when it is rotated; times are epoch seconds; `hash` is that of `hashed`.

    No `models` or no `accounts` (ids) means all of them; a model may be a pattern with `*`.  `concurrency` is
    how many answers may be under way at a time.
    """

    id: str
    name: str
    hash: str
    created: float
    models: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    budget: Budget | None = None
    concurrency: int | None = None
    expires: float | None = None
    revoked: float | None = None

    def is_live(self, now: float) -> bool:
        """Whether requests may come in with it."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def allows_model(self, names: Iterable[str]) -> bool:
        """Whether a model that has these names may be asked."""
        plain = [_plain(name) for name in names]
        return not self.models or any(
            fnmatchcase(name, _plain(pattern)) for pattern in self.models for name in plain
        )


def new_secret() -> str:
    """What the holder of a new key sends."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hashed(secret: str) -> str:
    """How a key is looked up: as SHA-256, so that how long a look-up takes tells nothing of any key."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _plain(model: str) -> str:
    """`claude-sonnet-4.5` is `claude-sonnet-4-5`, and may think or not."""
    return model.lower().replace(".", "-").removesuffix("-thinking")
