"""A row after a change: what every store does to its records, whatever it keeps them in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiro_auth.json_values import as_number
from kiro_auth.store.protocol import DERIVED, LAST_TURN, Credits, Record


def swapped(row: Record, fields: Mapping[str, Any], if_unchanged: Mapping[str, Any] | None = None) -> Record:
    """The row with these fields, those of None removed; the very row if one of `if_unchanged` has changed."""
    if any(row.get(name) != value for name, value in (if_unchanged or {}).items()):
        return row
    return {
        name: value for name, value in {**row, **fields}.items() if value is not None or name not in fields
    }


def with_credits(row: Record, credits_: Credits) -> Record:
    """The usage row with more credits."""
    derived = (as_number(row.get(DERIVED)) or 0.0) + credits_.added
    return {**row, DERIVED: round(derived, 6), LAST_TURN: round(credits_.last_turn, 6)}
