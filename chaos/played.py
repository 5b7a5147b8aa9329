"""What came of a scenario."""

from __future__ import annotations

from msgspec import Struct, field


class Played(Struct):
    """What was `injected`, how each request ended, and which laws were `broken`, all in words."""

    seed: int
    injected: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
