"""Places and homes in the memory of this process, for stores that share neither."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 1000
"""How many conversations are remembered; the one unused for longest is forgotten first."""


class LocalPlaces:
    """See `Places`.  For one thread; nothing in it waits but `freed`."""

    full: Final = ()
    """See `Places.full`: there are no others."""
    lags: Final = ()
    """See `Places.lags`."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, name: str, limit: int) -> bool:
        """See `Places.take`."""
        taken = self._taken.get(name, 0)
        if taken >= limit:
            return False
        self._taken[name] = taken + 1
        return True

    def release(self, name: str) -> None:
        """See `Places.release`."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]
        while self._waiting:
            waiting = self._waiting.pop()
            if not waiting.done():
                waiting.set_result(None)

    async def count(self, name: str) -> int:
        """See `Places.count`."""
        return self._taken.get(name, 0)

    async def freed(self) -> None:
        """See `Places.freed`: the next release."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting


class LocalHomes:
    """See `Homes`."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()

    async def home(self, session: str | None) -> str | None:
        """See `Homes.home`."""
        if session is None or session not in self._homes:
            return None
        self._homes.move_to_end(session)
        return self._homes[session]

    def settle(self, session: str | None, account_id: str) -> None:
        """See `Homes.settle`."""
        if session is None:
            return
        self._homes[session] = account_id
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)
