"""What a store offers: a snapshot to read, and changes, of records by id.

A store keeps records; it does not judge them.  Field names are those of the original plugin's files, so
that both programs can read them.  Records are values: who wants another one asks for a change.

A store holds what all processes share.  Two of its faces are shared only where it is a database, for all
gateways that use it: `places`, how many use an account at a time, and `homes`, which account a conversation
stays with.  Over files they are each process's own (`local`): two gateways may then send one conversation to
two accounts, and an account twice the requests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeAlias

from msgspec import Struct

from kiro_auth.failures import Failure, StoreFailed

Record: TypeAlias = Mapping[str, Any]
"""One account or usage row as it is kept, unknown fields included.  Nobody changes it in place."""

DERIVED: Final = "creditsSince"
"""The usage field for credits metered since the service last said what is used: our sum, not its figure."""
LAST_TURN: Final = "lastTurnCredits"
"""The usage field for what the service metered for the account's last turn."""


class StoreBusy(StoreFailed):
    """Another holds the lease."""


class Snapshot(Struct, frozen=True):
    """What a store holds at one moment.

    `accounts` are in the order they were added, `usage` has the usage rows by account id, `active` is the id
    of the account that was noted as the one in use, if it is there still.  `usage_failure` is why usage is
    not known; the accounts are good all the same.  `by_id` has the accounts by their ids, if
    the store keeps them so.  `unreadable` has, by account id, why a record cannot be opened that is there all
    the same: only `Store.remove` changes it.
    """

    accounts: tuple[Record, ...] = ()
    usage: Mapping[str, Record] = {}
    active: str | None = None
    usage_failure: Failure | None = None
    by_id: Mapping[str, Record] | None = None
    unreadable: Mapping[str, Failure] = {}

    def usage_rows(self) -> Mapping[str, Record]:
        """`usage`, for who needs to know it: raises StoreFailed when it is not known."""
        if self.usage_failure is not None:
            raise StoreFailed(self.usage_failure)
        return self.usage

    def record(self, account_id: str) -> Record | None:
        """The record of an account; None when it is not there."""
        if self.by_id is not None:
            return self.by_id.get(account_id)
        return next((record for record in self.accounts if record.get("id") == account_id), None)


class Credits(Struct, frozen=True):
    """What the service metered for one account: `added` for some turns together, `last_turn` for the last."""

    added: float
    last_turn: float


class Renewed(Struct, frozen=True):
    """What a renewal brought: the fields to set, and the refresh token in the store that it has spent."""

    account_id: str
    spent: str | None
    fields: Record


class Ahead(Protocol):
    """Keeps what a renewal brought from the moment it is here until the store has it.

    Everything but `pending` is for who holds the lease of the account's renewal.
    """

    async def prepare(self, account_id: str) -> None:
        """Make sure that `keep` will have its place.  Raises StoreFailed."""

    def keep(self, renewed: Renewed) -> None:
        """Keep it now, in place of what is kept of this account: no end of the process undoes it.

        Raises StoreFailed.
        """

    async def kept(self, account_id: str) -> Renewed | None:
        """What is kept of an account, by whatever process."""

    def forget(self, account_id: str) -> None:
        """Keep nothing of the account: the store has it, or nothing came."""

    async def pending(self, account_ids: Iterable[str]) -> list[str]:
        """Of which of these, all there are, something is kept or was prepared.

        Of others it is forgotten after some days, as they may be in another store.
        """


class Places(Protocol):
    """How many use a thing at a time, by its name: `account:<id>`, `key:<id>`."""

    @property
    def full(self) -> Collection[str]:
        """The names that others were found to use so much that a take would be refused.

        It is what is known without asking; after `freed` it counts no more.
        """

    @property
    def lags(self) -> Sequence[float]:
        """Pauses, in seconds, between looks of somebody who will not wait for a place.

        One that another gateway gives back is free a moment after its client knows that the answer ended.
        """

    async def take(self, name: str, limit: int) -> bool:
        """Take one of `limit` places; whether one was free.  Raises StoreFailed.

        Who is cancelled meanwhile holds none.
        """

    def release(self, name: str) -> None:
        """Give back a place that was taken.  It raises nothing; what it takes is done behind the caller."""

    async def count(self, name: str) -> int:
        """How many are taken now.  Raises StoreFailed."""

    async def freed(self) -> None:
        """Wait until a place may be free that was not when a take was refused."""


class Homes(Protocol):
    """Which account each conversation stays with, as its cache and signed reasoning belong to that one.

    A conversation without an id has none.
    """

    async def home(self, session: str | None) -> str | None:
        """The id of the account that the conversation stays with, if that is known.  Raises StoreFailed."""

    def settle(self, session: str | None, account_id: str) -> None:
        """Keep the conversation with this account from here on.  It raises nothing; nobody waits for it."""


class Store(Protocol):
    """`snapshot` is for reading, on any request's way; all else waits, and is for changes.

    Everything raises StoreFailed, and nothing else.  A change that was begun is made, even if who waits for
    it is cancelled.  A change of a record that cannot be opened raises why, and leaves it as it is.
    """

    @property
    def ahead(self) -> Ahead:
        """Where new tokens are kept until they are in the store."""

    @property
    def places(self) -> Places:
        """How many use what is used by only so many at a time."""

    @property
    def homes(self) -> Homes:
        """Which account each conversation stays with."""

    def snapshot(self) -> Snapshot:
        """What the store holds, as far as this process knows by now, without waiting.

        This process's own changes are in it as soon as they are made; those of others come a little later,
        if the store cannot look at once.  What did not change since the last snapshot is the same object.
        """

    async def load(self) -> Snapshot:
        """What the store holds now: for who decides under a lease."""

    async def add(self, record: Record) -> None:
        """Add a new account; its `id` must be new (else ValueError)."""

    async def change(
        self, account_id: str, fields: Mapping[str, Any], *, if_unchanged: Mapping[str, Any] | None = None
    ) -> Record | None:
        """Set these fields and no others, None removing one; the record afterwards, or None when it is gone.

        With `if_unchanged` nothing is written unless those fields still hold those values (compare and
        swap); the record as it stands is returned either way.
        """

    async def remove(self, account_id: str) -> bool:
        """Forget an account, its usage and every copy of its tokens for good; whether it was there.

        Raises StoreFailed too when it is forgotten but a copy is left, which is named then.
        """

    async def note_active(self, account_id: str) -> None:
        """Note which account is in use; one that is not there is not noted."""

    async def change_usage(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """Set these fields of an account's usage row, None removing one.

        Of an account that is not there nothing is kept.
        """

    async def add_credits(self, metered: Mapping[str, Credits]) -> None:
        """Add what was metered, by account id, to what others have added, in one step.

        It goes to DERIVED and LAST_TURN.  Of an account that is not there, or cannot be opened, nothing is
        kept.
        """

    async def clear_leftovers(self) -> None:
        """Remove what processes left that were killed while they wrote; it may hold tokens."""

    def lease(self, name: str, seconds: float, *, wait: float = 0.0) -> AbstractAsyncContextManager[None]:
        """Hold `name` (`refresh-<account id>`, `sign-in`) for a block, alone among all tasks and processes.

        It ends with the block, after `seconds` even if the block goes on, or, where the store can know of
        that, when the process ends; from then on another may hold it.  What must not happen twice is a change
        with `if_unchanged` besides.  Raises StoreBusy when another holds it for `wait` seconds; without
        `wait` it is asked for once.
        """


class KeptStore(Store, Protocol):
    """A store that is written down, which tells people what waits to be."""

    def waiting(self, account_id: str) -> Renewed | None:
        """The new tokens of an account that are kept ahead, as far as they can be seen without its lease."""
