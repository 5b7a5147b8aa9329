"""Failures in the shape of the OpenAI APIs, with statuses and words that clients treat rightly.

Seen with Codex 0.169: 400 stops at once, 401 to 403 are sent six times, 429 fails at once unless it says
how long to wait.  OpenCode 1.18.34 compacts on the code `context_length_exceeded` and stops at 400 to 404.
Whatever may pass was already tried again by this gateway, so only a short throttle is handed on as passing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from kiro_auth.failures import Failure, final_wording
from kiro_auth.surfaces.surface import HttpError

USUAL_RETRY: Final = 5
"""Seconds to wait when the service named no time: Codex does not retry at all without one."""
LONGEST_RETRY: Final = 60
"""Seconds.  Clients sleep as long as they are told; beyond this a person should know instead."""

_INVALID: Final = (400, "invalid_request_error")

ERRORS: Final[Mapping[str, tuple[int, str, str | None]]] = {
    "KA-REQUEST": (*_INVALID, None),
    "KA-BODY": (*_INVALID, None),
    "KA-SIGNATURE": (*_INVALID, None),
    "KA-CONVERSATION": (*_INVALID, None),
    "KA-OVERFLOW": (*_INVALID, "context_length_exceeded"),
    "KA-MODEL": (404, "invalid_request_error", "model_not_found"),
    "KA-KEY": (401, "authentication_error", "invalid_api_key"),
    "KA-THROTTLE": (429, "rate_limit_error", "rate_limit_exceeded"),
    "KA-QUOTA": (402, "insufficient_quota", "insufficient_quota"),
    "KA-OVERAGE": (402, "insufficient_quota", "insufficient_quota"),
}
"""Status, type and code of failures that clients tell apart."""
_OTHER: Final = (403, "api_error", None)
"""Accounts, sign-in, the service, this installation: a person has to read it, a repeat does not help."""


def encode_failure(failure: Failure) -> HttpError:
    """A failure before any output."""
    status, kind, code = ERRORS.get(failure.code, _OTHER)
    text = failure.sentence()
    headers = {"x-request-id": failure.request_id} if failure.request_id else {}
    if status == 429:
        wait = USUAL_RETRY if failure.retry_after is None else math.ceil(failure.retry_after)
        if wait > LONGEST_RETRY:
            status, kind, code = 403, "api_error", None
            text += "" if failure.until else f" Kiro asks to wait {math.ceil(wait / 60)} minutes."
        else:
            headers["retry-after"] = str(max(1, wait))
    if status != 429:
        text = final_wording(text)
    error = {"message": text, "type": kind, "param": None, "code": code}
    return HttpError(status, headers, msgspec.json.encode({"error": error}))
