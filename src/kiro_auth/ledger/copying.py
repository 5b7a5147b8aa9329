"""Turns of one ledger put into another."""

from __future__ import annotations

from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import every_row


def copy(source: Ledger, target: Ledger) -> int:
    """Add the turns that `target` lacks, by their request ids; how many.  Raises StoreFailed."""
    return sum(target.add_missing(rows) for rows in every_row(source))
