"""Whether this machine's clock agrees with the services'."""

from __future__ import annotations

from kiro_auth.doctor.finding import Finding
from kiro_auth.kiro.edge.clock import WORTH_A_WARNING


def clock(offset: float | None) -> Finding:
    """Whether this machine's clock agrees with the services'; None: no service has said the time."""
    if offset is None:
        return Finding("clock", "ok", "not known, as no service has said the time")
    if abs(offset) <= WORTH_A_WARNING:
        return Finding("clock", "ok", "agrees with AWS")
    minutes = abs(offset) / 60
    amount = f"{minutes:.0f} minutes" if minutes < 119.5 else f"{minutes / 60:.0f} hours"
    return Finding(
        "clock", "warning", f"this machine's clock is {amount} {'slow' if offset > 0 else 'fast'}.",
        "Let the network set it.",
    )  # fmt: skip
