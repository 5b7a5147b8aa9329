"""One line of `kiro-auth doctor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.failures import KiroAuthError
from kiro_auth.os_errors import reason

Level = Literal["ok", "warning", "fault"]


class Finding(Struct, frozen=True):
    """One thing that was looked at.  `fix` mends it, where that is safe, and changes nothing else."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
    fix: Callable[[], object] | None = None


def mended(finding: Finding) -> Finding | None:
    """Mend it; what stood in the way, if that failed."""
    assert finding.fix is not None
    try:
        finding.fix()
    except KiroAuthError as error:
        why, remedy = error.failure.message, error.failure.next_step
    except OSError as error:
        why, remedy = f"{error.filename} cannot be changed: {reason(error)}.", finding.remedy
    else:
        return None
    return replace(finding, message=f"--fix failed: {why}", remedy=remedy, fix=None)
