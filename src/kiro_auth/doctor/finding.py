"""One line of `kiro-auth doctor`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.failures import Failure, KiroAuthError
from kiro_auth.os_errors import reason

Level = Literal["ok", "warning", "fault"]


class Finding(Struct, frozen=True):
    """One thing that was looked at.  `fix` mends it, where that is safe, and changes nothing else.

    `code` is that of the failure that was met, if there is one; see docs/failures.md.
    """

    check: str
    level: Level
    message: str
    remedy: str | None = None
    fix: Callable[[], object] | None = None
    code: str | None = None


def failed(check: str, level: Level, failure: Failure, fix: Callable[[], object] | None = None) -> Finding:
    """A finding that is a failure."""
    return Finding(check, level, failure.heading, failure.next_step, fix, failure.code)


def mended(finding: Finding) -> Finding | None:
    """Mend it; what stood in the way, if that failed."""
    assert finding.fix is not None
    try:
        finding.fix()
    except KiroAuthError as error:
        why, remedy = error.failure.heading, error.failure.next_step
    except OSError as error:
        why, remedy = f"{error.filename} cannot be changed: {reason(error)}.", finding.remedy
    else:
        return None
    return replace(finding, message=f"--fix failed: {why}", remedy=remedy, fix=None)
