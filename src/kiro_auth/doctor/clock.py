"""Whether this machine's clock agrees with the services'."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kiro_auth.doctor.finding import Finding

CLOCK_SECONDS: Final = 300.0
"""A machine whose clock differs by more should be told."""


def clock(offset: float | None) -> Iterator[Finding]:
    """Whether this machine's clock agrees with the services', if one was asked."""
    if offset is None:
        return
    if abs(offset) > CLOCK_SECONDS:
        yield Finding(
            "clock", "warning", f"this machine's clock is off by {-offset / 60:+.0f} minutes.",
            "Let it be set by the network.",
        )  # fmt: skip
    else:
        yield Finding("clock", "ok", "agrees with the services'")
