"""What is said to a client whose request cannot be read, and of defects of ours."""

from __future__ import annotations

import logging
from typing import Final

from kiro_auth.failures import DEFECT, Failure, KiroAuthError
from kiro_auth.gateway.http.head import Unreadable
from kiro_auth.gateway.http.limits import MAX_HEADER

log = logging.getLogger("kiro_auth.server")

EXPECTATION: Final = Failure(code="KA-REQUEST", message="The request is refused: Expectation Failed.")
LATE: Final = Failure(
    code="KA-REQUEST", message="The request's head cannot be read: the rest of it did not come in time."
)
SILENT: Final = Failure(
    code="KA-GATEWAY",
    message="No request came on this connection in time.",
    next_step="Ask again in a moment.",
    retry_after=1.0,
)
_TOO_LARGE: Final = Failure(
    code="KA-HEADERS",
    message=f"A header of the request is larger than {MAX_HEADER >> 10} KiB, or there are too many.",
    next_step="Leave out what other programs add to the request.",
)


def failure_of(error: BaseException | None) -> Failure:
    """What is said of an exception of a handler; one that is a defect of ours is logged."""
    if isinstance(error, KiroAuthError):
        return error.failure
    log.error("a request failed by a defect of this program", exc_info=error)
    return DEFECT


def unreadable(error: Unreadable) -> Failure:
    """What is wrong with the head, without a word of it: it may hold the key."""
    if error.too_large:
        return _TOO_LARGE
    reason = f": {error.reason}" if error.reason else ""
    return Failure(code="KA-REQUEST", message=f"The request's head cannot be read{reason}.")
