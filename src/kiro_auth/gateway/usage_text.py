"""The accounts' usage as one short line, for a toast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kiro_auth.accounts.usage_row import used_credits


def usage_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """`Builder ID 1: 12.5 of 1000 credits`, accounts separated by semicolons; empty when nothing is known."""
    known = [row for row in rows if row.get("limitCount")]
    return "; ".join(
        f"{row['account']}: {used_credits(row) or 0:g} of {row['limitCount']:g} credits" for row in known
    )
