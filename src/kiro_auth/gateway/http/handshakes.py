"""TLS handshakes under way, of clients from elsewhere: few, soon over, and of one address fewer still."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from kiro_auth.gateway.http.limits import HEAD_SECONDS, MOST_OF_ONE, MOST_STRANGERS, TIME_TO_ASK


class Handshakes:
    """Those of one server.  `limits` says of which addresses there are to be few."""

    def __init__(self, limits: Callable[[str], bool]) -> None:
        self._limits = limits
        self._begun: dict[asyncio.WriteTransport, tuple[float, str]] = {}  # when, from where; oldest first

    def __len__(self) -> int:
        return len(self._begun)

    def add(self, handshake: asyncio.WriteTransport, address: str, now: float) -> None:
        """One more, for which another may have to give way.

        Where there are too many in all it is the oldest of the address with the most: so one address takes
        no place that another one needs.
        """
        self._begun[handshake] = now, address
        if len(self._begun) > MOST_OF_ONE and self._limits(address):
            for old in self._of(address)[:-MOST_OF_ONE]:
                if now - self._begun[old][0] >= TIME_TO_ASK:
                    self._give_up(old)
        if len(self._begun) > MOST_STRANGERS:
            ((busiest, _),) = Counter(origin for _, origin in self._begun.values()).most_common(1)
            self._give_up(self._of(busiest)[0])

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

    def _of(self, address: str) -> list[asyncio.WriteTransport]:
        return [handshake for handshake, (_, origin) in self._begun.items() if origin == address]

    def _give_up(self, handshake: asyncio.WriteTransport) -> None:
        del self._begun[handshake]
        handshake.abort()
