"""What any ledger offers, whatever keeps it: turns are recorded, summed up for budgets, and read.

A ledger is what all gateways of one store share; a `Recorder` is one gateway's hand on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from kiro_auth.events import Listener
from kiro_auth.failures import Failure
from kiro_auth.ledger.matter import Matter, Scope
from kiro_auth.ledger.row import Row


class Change(Struct, frozen=True):
    """A sum that has grown: in credits, `before` and `after`."""

    scope: Scope
    name: str
    before: float
    after: float


class Charged(Struct, frozen=True):
    """A turn that was counted: what it used, and its conversation so far (None: it names none)."""

    request_id: str
    credits: float
    of_session: float | None


OnCounted: TypeAlias = Callable[[Sequence[Charged], Sequence[Change]], None]
"""Hears in the gateway's event loop of turns of this gateway that were counted, and of the sums."""


class Sums(Protocol):
    """What was spent through all gateways of one ledger."""

    async def spent_since(self, scope: Scope, name: str, since: float) -> float:
        """Credits under a name of a scope since a beginning of a day of UTC (epoch seconds).

        What this gateway spent counts at once.  Raises StoreFailed.
        """


class Recorder(Protocol):
    """What one gateway has of a ledger while it runs."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Those who are to hear of every turn: they record it, and count it."""

    @property
    def zone(self) -> tzinfo | None:
        """Whose days are counted by; None is the machine's zone."""

    @property
    def shared_sums(self) -> Sums | None:
        """The sums of all gateways; None where each counts for itself."""

    async def spent(self, matter: Matter, scopes: Iterable[Scope]) -> Mapping[Scope, float]:
        """What was spent so far for this matter, by each of the scopes that counts it.

        Raises StoreFailed when nobody can know.
        """

    async def close(self) -> None:
        """Write down what is in memory only; it takes seconds at most."""


class Ledger(Protocol):
    """The turns of one store.  All methods but `recorder` may wait for a disk or a database."""

    def recorder(
        self, *, counts: bool, on_counted: OnCounted, on_trouble: Callable[[Failure], None]
    ) -> Recorder:
        """Begin to record; for who has an event loop.

        Without `counts` nobody asks for sums here.  `on_trouble` hears, in any thread, once each time that
        turns begin to wait in memory because they can be written nowhere.
        """

    def query(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What a query of `reading` gives; a ledger that is not there has no rows.  Raises StoreFailed.

        `values` are named so: `:since`.  Words of the engine stand in braces: `{turns}` is the table,
        `{quarter}` the number of the quarter of an hour, since 1970, in which a turn ended, `{order}` what
        orders turns that ended at the same moment.
        """

    def add_missing(self, rows: Sequence[Row]) -> int:
        """Add the rows whose request ids are not there, all or none; how many.  Raises StoreFailed."""

    def forget(self) -> int:
        """Remove all rows for good; how many there were.  Raises StoreFailed.

        Sums for budgets stay, and rows that are added again count in them no second time.
        """
