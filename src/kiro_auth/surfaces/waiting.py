"""Which failures a client may meet with a repeat, how long it is told to wait, and in which words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from kiro_auth.failures import DEFECT, Failure
from kiro_auth.surfaces.wording import final_wording, passing_wording

USUAL_RETRY: Final = 5
"""Seconds to wait when the service named no time: Codex does not retry at all without one."""
_MAY_PASS: Final = ("KA-THROTTLE", "KA-ACCOUNTS-BUSY", "KA-KEY-CONCURRENCY", "KA-GATEWAY")
LONGEST_RETRY: Final = 60
"""Seconds.  Clients sleep as long as they are told; beyond this a person should know instead."""


def seconds_to_wait(failure: Failure) -> int | None:
    """After how long the same request may be sent again; None when a person has to know instead.

    This gateway has already tried again what may pass.  Only a short throttle is handed on to the client.
    With several accounts it is the shortest of their waits.
    """
    seconds = failure.retry_after
    if failure.code == "KA-THROTTLE" and seconds is None:
        seconds = USUAL_RETRY
    if failure.code not in _MAY_PASS or seconds is None:
        return None
    wait = max(1, math.ceil(seconds))
    return wait if wait <= LONGEST_RETRY else None


def retry_headers(wait: int | None) -> Mapping[str, str]:
    """Whether to send the request again, after how many seconds.

    The official SDKs and OpenCode 2.x go by the first of them before they look at the status.
    """
    if wait is None:
        return {"x-should-retry": "false"}
    return {"x-should-retry": "true", "retry-after": str(wait)}


def final_text(failure: Failure) -> str:
    """What a person reads of a failure that is not to be met with a repeat.

    In words that no client takes for passing.  An overflow begins with those by which clients know to
    compact the conversation: Anthropic's, then OpenAI's.
    """
    text = failure.sentence()
    if failure is DEFECT:  # of which each start makes last words: reading all patterns for them takes long
        return text
    if failure.code == "KA-OVERFLOW":
        text = f"prompt is too long: this model's maximum context length is exceeded. {text}"
    wait = failure.retry_after or 0
    if failure.code == "KA-THROTTLE" and wait > LONGEST_RETRY and not failure.until:
        text += f" Kiro asks to wait {math.ceil(wait / 60)} minutes."
    return final_wording(text)


def passing_text(failure: Failure) -> str:
    """What a person reads of a failure that a repeat may mend, in words that no client stops at."""
    return passing_wording(failure.sentence())
