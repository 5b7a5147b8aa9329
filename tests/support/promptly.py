"""How long somebody waited, against what is promised, on a machine that may have much else to do."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

_BUSY: Final = 5.0
"""Seconds that such a machine may add to one wait in the middle of others."""


def assert_in_time(waits: Sequence[float], promised: float) -> None:
    """The waits, in seconds, are such as is promised; what a machine adds to some of them is none of ours."""
    seen = f"{statistics.median(waits):.2f} s as a rule, {max(waits):.2f} s at most"
    assert statistics.median(waits) < promised, seen
    assert max(waits) < promised + _BUSY, seen
