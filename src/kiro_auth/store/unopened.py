"""Rows that cannot be opened: each costs its own account alone, unless no key fits any of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.store.json_file import failed

PUT_BACK: Final = "Put it back from a backup."
_SHOWN: Final = 64
"""Characters of an id that are shown: as many as one may have, as it is to be typed."""


class Unopened(Struct, frozen=True):
    """Why a row cannot be opened.

    `without_key` is what there is to say where no row at all can be opened; None: a key is not the cause.
    """

    failure: Failure
    without_key: Failure | None = None


class CannotOpen(StoreFailed):
    """A row cannot be opened; `why` says it as a value."""

    def __init__(self, why: Unopened) -> None:
        super().__init__(why.failure)
        self.why = why


def cannot_open(account_id: str, why: str, remedy: str, *, without_key: Failure | None = None) -> CannotOpen:
    """That the row of this account cannot be opened: `why`, and what helps beside its removal."""
    id_ = account_id[:_SHOWN]
    failure = failed(
        f"The account {id_} cannot be read: {why}.",
        f"{remedy} Or do without it: kiro-auth accounts remove {shlex.quote(id_)}",
    ).failure
    return CannotOpen(Unopened(failure, without_key))


def key_is_wrong(unopened: Mapping[str, Unopened], rows: int) -> Failure | None:
    """What to say of all accounts: that no key fits any of so many rows.  None where one could be opened."""
    if len(unopened) < rows:
        return None
    return next((why.without_key for why in unopened.values() if why.without_key is not None), None)
