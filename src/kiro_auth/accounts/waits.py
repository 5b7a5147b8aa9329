"""What one request waited for, and how long: what a person reads when its time ran out."""

from __future__ import annotations

from typing import Final

from kiro_auth.failures import Failure

_WORTH_TELLING: Final = 1.0
"""Seconds."""


class Waits:
    """Sums up the waiting of one request; `seconds` is all the time that it has."""

    __slots__ = ("_by_cause", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._by_cause: dict[str, float] = {}

    def add(self, cause: str, seconds: float) -> None:
        """It waited so long for this: `a free place`."""
        self._by_cause[cause] = self._by_cause.get(cause, 0.0) + seconds

    def too_late(self) -> Failure:
        """That no answer began in time, and what the time went by with."""
        sentences = [
            f"{spent:.0f} s for {cause}" for cause, spent in self._by_cause.items() if spent >= _WORTH_TELLING
        ]
        message = "Kiro did not begin to answer in time."
        if sentences:
            message += f" Of the {self._seconds:.0f} s that a request has, it waited {', '.join(sentences)}."
        return Failure(
            code="KA-TIMEOUT", message=message, next_step="Repeat the request, or raise request_timeout_ms."
        )
