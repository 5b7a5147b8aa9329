"""Which failures a client may meet with a repeat, and how long it is told to wait."""

from __future__ import annotations

import math
from typing import Final

from kiro_auth.failures import Failure, final_wording

USUAL_RETRY: Final = 5
"""Seconds to wait when the service named no time: Codex does not retry at all without one."""
LONGEST_RETRY: Final = 60
"""Seconds.  Clients sleep as long as they are told; beyond this a person should know instead."""


def seconds_to_wait(failure: Failure) -> int | None:
    """After how long the same request may be sent again; None when a person has to know instead.

    Whatever may pass was already tried again by this gateway, so only a short throttle is handed on, of one
    account or, when no other can serve sooner, of the one whose wait is the shortest.
    """
    seconds = failure.retry_after
    if failure.code == "KA-THROTTLE" and seconds is None:
        seconds = USUAL_RETRY
    if failure.code not in ("KA-THROTTLE", "KA-ACCOUNTS-BUSY") or seconds is None:
        return None
    wait = max(1, math.ceil(seconds))
    return wait if wait <= LONGEST_RETRY else None


def final_text(failure: Failure, text: str) -> str:
    """`text` for a failure that is not to be met with a repeat, in words that no client takes for passing."""
    if failure.code == "KA-THROTTLE" and failure.retry_after and not failure.until:
        text += f" Kiro asks to wait {math.ceil(failure.retry_after / 60)} minutes."
    return final_wording(text)
