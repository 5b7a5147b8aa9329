"""The ledger in a database, of all gateways that share it.

What is read has a connection of its own, so that a long reading holds up no request.
"""

from __future__ import annotations

import re
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from kiro_auth.failures import Failure
from kiro_auth.ledger import sums
from kiro_auth.ledger.protocol import OnCounted
from kiro_auth.ledger.row import Row
from kiro_auth.ledger.shipping import Shipping
from kiro_auth.store.database import Database, Work
from kiro_auth.store.schema import Connection

T = TypeVar("T")
_WORDS: Final = {
    "turns": "kiro_auth.ledger",
    "quarter": "floor(ended / 900)",
    "order": "request_id",
}
_NAMED: Final = re.compile(r":([a-z]+)")
_SECONDS: Final = 60.0
"""The longest that a reading may take."""


class PostgresLedger:
    """See `Ledger`.  Gateways write over `database`; `url` is where it is read.

    `spools` is the folder for turns that are not in it yet.
    """

    def __init__(
        self, url: str, database: Database, spools: Path, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._clock = clock
        self._reading = Database(url, patient=True)
        self._spools = spools
        self.close = weakref.finalize(self, self._reading.close)
        """Closes the connection that reads; so does the end of the program."""

    def recorder(
        self, *, counts: bool, on_counted: OnCounted, on_trouble: Callable[[Failure], None]
    ) -> Shipping:
        """See `Ledger.recorder`.  Turns are counted with or without `counts`: other gateways may ask."""
        return Shipping(
            self._database, self._spools, on_counted=on_counted, on_trouble=on_trouble, clock=self._clock
        )

    def query(self, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """See `Ledger.query`."""
        text = _NAMED.sub(r"%(\1)s", query.format(**_WORDS)).encode()

        async def read(connection: Connection) -> list[tuple[Any, ...]]:
            found = await connection.execute(text, values)
            return await found.fetchall()

        return self._done(read)

    def add_missing(self, rows: Sequence[Row]) -> int:
        """See `Ledger.add_missing`; they are counted as well."""
        if not rows:
            return 0

        async def add(connection: Connection) -> int:
            return len((await sums.add(connection, rows)).rows)

        return self._done(add)

    def forget(self) -> int:
        """See `Ledger.forget`."""
        return self._done(sums.forget)

    def _done(self, work: Work[T]) -> T:
        async def run() -> T:
            await self._reading.run(_look)
            return await self._reading.run(work, seconds=_SECONDS)

        return self._reading.submit(run()).result()


async def _look(connection: Connection) -> None:
    """A database that is away is found out soon, though its work may take long."""
    await connection.execute("SELECT 1")
