"""What the dashboard reads and does, which the gateway gives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.roster import Unreadable
from kiro_auth.events import Caller, Running
from kiro_auth.failures import Failure
from kiro_auth.ledger.protocol import Ledger


class Actions(Protocol):
    """What a person can do to an account; each says in a sentence what came of it.  Raises KiroAuthError."""

    async def enable(self, account: Account) -> str:
        """Let it take requests."""

    async def disable(self, account: Account) -> str:
        """Send it no requests."""

    async def verify(self, account: Account) -> str:
        """Ask Kiro whether it works."""

    async def sign_in(self, account: Account) -> Mapping[str, Any]:
        """Begin a sign-in: its `id`, the `url` of the page to open, the `code` to compare, a `notice`."""

    def sign_in_status(self, id_: str) -> Mapping[str, Any] | None:
        """`status` is pending, done or failed, with a `message`; None: there is no such sign-in."""


class Holders(Protocol):
    """The holders of client keys, who see a page of their own."""

    def are_any(self) -> bool:
        """Whether there is any client key."""

    def admit(self, secret: str) -> Caller | Failure | None:
        """Whose key it is, or why nobody comes in with it; None: it is no client key."""

    def named(self, name: str) -> Caller | Failure | None:
        """Whose key has this name, or why nobody comes in with it; None: there is none of that name."""

    async def view(self, caller: Caller) -> Mapping[str, Any]:
        """What the holder may see of itself, as `GET /kiro/me` has it.

        Raises KiroAuthError; one of a code KA-KEY-… when the key is good no longer.
        """


class Sources(Struct, frozen=True, kw_only=True):
    """The values of the moment.

    `accounts`, `unreadable` (those that cannot be read) and `usage_rows` may raise KiroAuthError.  `ended`
    counts the turns that ended.  `ledger` has the turns, None where none is kept.  `client_name` is what
    people call the product in a `User-Agent`.
    """

    accounts: Callable[[], Sequence[Account]]
    unreadable: Callable[[], Sequence[Unreadable]]
    usage_rows: Callable[[], Mapping[str, Mapping[str, Any]]]
    running: Callable[[], Sequence[Running]]
    ended: Callable[[], int]
    client_name: Callable[[str | None], str | None]
    ledger: Ledger | None
    clock: Callable[[], float] = time.time
