"""Who was turned away at the door, for the log: other machines alone, and few lines of however many."""

from __future__ import annotations

import logging
from typing import Final

from kiro_auth.events import noted
from kiro_auth.failures import Failure

log = logging.getLogger("kiro_auth.gateway")

QUIET_SECONDS: Final = 10.0
"""In which an address has one line."""
_MOST: Final = 20
"""Addresses that have a line in that time."""


class Refused:
    """Those of one gateway."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._until = 0.0

    def tell(self, address: str, failure: Failure, now: float) -> None:
        """A request from this address was refused; `now` is in seconds, and never goes back."""
        if now >= self._until:
            self._told.clear()
            self._until = now + QUIET_SECONDS
        if address in self._told or len(self._told) >= _MOST:
            return
        self._told.add(address)
        facts = noted("refused", address=address, failure=failure.code)
        log.warning("a request from %s was refused: %s", address, failure.message, extra=facts)
