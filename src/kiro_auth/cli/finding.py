"""One line of `kiro-auth doctor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Level = Literal["ok", "warning", "fault"]


class Finding(Struct, frozen=True):
    """One thing that was looked at.  `fix` mends it, where that is safe, and changes nothing else."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
    fix: Callable[[], object] | None = None
