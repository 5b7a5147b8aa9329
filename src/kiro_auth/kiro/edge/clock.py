"""What time it is for the services.

Tokens, plans and registrations end by their clock.  A machine whose clock is wrong by hours would use dead
tokens, or renew live ones with every request, and keep an account out for too long after a reset.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from kiro_auth.kiro.checked import http_date

log = logging.getLogger("kiro_auth.clock")

TOLERANCE: Final = 10.0
"""Seconds.  A `Date` header has no fractions and takes its time to arrive; less than this means nothing."""
WORTH_A_WARNING: Final = 300.0
"""Seconds.  A person whose machine's clock differs by more should know."""


class ServiceClock:
    """Epoch seconds as the services count them: this machine's, corrected by their `Date` headers."""

    def __init__(self, machine: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._heard: str | None = None
        self.offset = 0.0
        """Seconds by which the services are ahead of this machine."""
        self.is_set = False
        """Whether a service has said the time."""

    def now(self) -> float:
        """Epoch seconds."""
        return self._machine() + self.offset

    def heard(self, date: str | None) -> None:
        """Take note of the `Date` of an answer that came just now."""
        if date == self._heard:  # within a second
            return
        self._heard = date
        if (said := http_date(date)) is None:
            return
        offset = said - self._machine()
        self.is_set = True
        if abs(offset) < TOLERANCE:
            offset = 0.0
        if abs(offset - self.offset) >= TOLERANCE:
            level = logging.WARNING if abs(offset) > WORTH_A_WARNING else logging.INFO
            log.log(level, "This machine's clock differs from the clock of AWS by %+.0f seconds.", -offset)
            self.offset = offset
