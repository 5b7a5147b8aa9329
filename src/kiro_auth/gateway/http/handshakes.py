"""TLS handshakes under way, of clients from elsewhere: few, soon over, and of one address fewer still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from kiro_auth.gateway.http.limits import HEAD_SECONDS, MOST_HANDSHAKES, MOST_OF_ONE, TIME_TO_ASK
from kiro_auth.gateway.http.site import origin_of


class Handshakes:
    """Those of one server.  `limits` says of which addresses there are to be few."""

    def __init__(self, limits: Callable[[str], bool]) -> None:
        self._limits = limits
        # When it began, and from where, if there are to be few from there; oldest first.
        self._begun: dict[asyncio.WriteTransport, tuple[float, str | None]] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def add(self, handshake: asyncio.WriteTransport, address: str, now: float) -> None:
        """One more, for which another may have to give way.

        Where there are too many in all it is the oldest of the address with the most: so one address takes
        no place that another one needs.  A trusted proxy, with many clients, is no such address.
        """
        origin = origin_of(address) if self._limits(address) else None
        self._begun[handshake] = now, origin
        if origin is not None and len(self._begun) > MOST_OF_ONE:
            for old in self._of(origin)[:-MOST_OF_ONE]:
                if now - self._begun[old][0] >= TIME_TO_ASK:
                    self._give_up(old)
        if len(self._begun) > MOST_HANDSHAKES:
            self._give_up(self._least_needed())

    def discard(self, handshake: asyncio.WriteTransport) -> None:
        """It is over, well or not."""
        self._begun.pop(handshake, None)

    def tick(self, now: float) -> None:
        """The time: one may take as long as a head may."""
        for handshake, (since, _) in tuple(self._begun.items()):
            if now - since >= HEAD_SECONDS:
                self._give_up(handshake)

    def end(self) -> None:
        """Wait for none of them."""
        for handshake in tuple(self._begun):
            handshake.abort()

    def _least_needed(self) -> asyncio.WriteTransport:
        counts = Counter(origin for _, origin in self._begun.values() if origin is not None)
        for busiest, count in counts.most_common(1):
            if count > 1:
                return self._of(busiest)[0]
        return next(iter(self._begun))

    def _of(self, origin: str) -> list[asyncio.WriteTransport]:
        return [handshake for handshake, (_, its_origin) in self._begun.items() if its_origin == origin]

    def _give_up(self, handshake: asyncio.WriteTransport) -> None:
        del self._begun[handshake]
        handshake.abort()
