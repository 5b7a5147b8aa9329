"""Failures in the shape of the Anthropic API, with statuses and words that clients treat rightly.

Seen with OpenCode 1.18.34: 400 to 404 and 424 stop at once and show the message; 429 and 5xx are sent six
times over a minute; 413 and "prompt is too long" make it compact.  Whatever may pass was already tried again
by this gateway, so nothing but a short throttle is handed on as passing.  Claude Code 2.1.331 shows the
message of 402 and 424 as it is, after one request.  It words 403 as a failed sign-in and 404 as a wrong
model, takes 400 for a field that it should leave out, which makes six requests, and repeats 401, 409, 422 and
5xx.  So 424 stands for whatever is no matter of the request or the key, and for what was mended and sent
again in vain.  OpenCode 2.x goes by `x-should-retry` before all else, does not compact at 413,
and stops at 402 for the type `billing_error` (packages/ai/src/provider-error.ts, 4933a71b).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kiro_auth.failures import Failure
from kiro_auth.surfaces.anthropic.request import THREAD_REASON
from kiro_auth.surfaces.surface import HttpError
from kiro_auth.surfaces.waiting import final_text, passing_text, retry_headers, seconds_to_wait

_WAIT: Final = (429, "rate_limit_error")
_INVALID: Final = (400, "invalid_request_error")
_DENIED: Final = (424, "permission_error")
_OUT_OF_ORDER: Final = (424, "invalid_request_error")
"""Anthropic's own type for any 4xx; OpenCode 2.x would repeat the request after `api_error`."""

STATUSES: Final[Mapping[str, tuple[int, str]]] = {
    "KA-REQUEST": _INVALID,
    "KA-BODY": _INVALID,
    "KA-SIGNATURE": _INVALID,
    "KA-OVERFLOW": _INVALID,
    "KA-CONVERSATION": _INVALID,
    "KA-CONTINUE": _INVALID,
    "KA-TOOLS": _INVALID,
    "KA-IMAGE": _INVALID,
    "KA-DOCUMENT": _INVALID,
    "KA-FIELDS": _OUT_OF_ORDER,  # for a model that refused them they are not sent any more
    "KA-MODEL": (404, "not_found_error"),
    "KA-SIZE": (413, "request_too_large"),
    "KA-ENCODING": (415, "invalid_request_error"),
    "KA-HEADERS": (431, "invalid_request_error"),
    "KA-ORIGIN": (403, "permission_error"),
    "KA-KEY": (401, "authentication_error"),
    "KA-KEY-EXPIRED": (401, "authentication_error"),
    "KA-KEY-REVOKED": (401, "authentication_error"),
    "KA-KEY-ADMIN": _DENIED,  # its addresses are of no API, and say 403
    "KA-KEY-MODEL": _DENIED,
    "KA-KEY-ACCOUNT": _DENIED,
    "KA-KEY-BUDGET": (402, "invalid_request_error"),
    "KA-KEY-CONCURRENCY": _OUT_OF_ORDER,
    "KA-ACCOUNT": _OUT_OF_ORDER,
    "KA-TOKEN": _DENIED,
    "KA-SIGNIN": _DENIED,
    "KA-SUSPENDED": (402, "permission_error"),
    "KA-QUOTA": (402, "billing_error"),
    "KA-BUDGET": (402, "invalid_request_error"),
    "KA-OVERAGE": (402, "billing_error"),
    "KA-THROTTLE": _DENIED,
    "KA-ACTIVITY": _DENIED,
    "KA-ENTITLEMENT": _DENIED,
    "KA-PROFILE": _DENIED,
    "KA-KMS": _DENIED,
    "KA-NO-ACCOUNT": _DENIED,
    "KA-ACCOUNTS-BUSY": _DENIED,
    "KA-CAPACITY": _OUT_OF_ORDER,
    "KA-SERVICE": _OUT_OF_ORDER,
    "KA-NETWORK": _OUT_OF_ORDER,
    "KA-CUT": _OUT_OF_ORDER,
    "KA-TIMEOUT": _OUT_OF_ORDER,
    "KA-CONFIG": _OUT_OF_ORDER,
    "KA-STORE": _OUT_OF_ORDER,
    "KA-DATABASE": _OUT_OF_ORDER,
    "KA-KEYRING": _OUT_OF_ORDER,
    "KA-STRANGER": _OUT_OF_ORDER,
    "KA-GATEWAY": _OUT_OF_ORDER,
    "KA-PORT": _OUT_OF_ORDER,
    "KA-OIDC": _DENIED,  # these are of the dashboard, which shows them on a page
    "KA-OIDC-PERSON": _DENIED,
    "KA-OIDC-PROVIDER": _DENIED,
    "KA-LOGIN": _DENIED,
    "KA-INTERNAL": _OUT_OF_ORDER,
}
"""Status and error type of every failure that is final."""


def encode_failure(failure: Failure) -> HttpError:
    """A failure before any output."""
    wait = seconds_to_wait(failure)
    headers = dict(retry_headers(wait))
    if failure.request_id:
        headers["x-amzn-requestid"] = failure.request_id  # the service's; ours is the gateway's affair
    if wait is None:
        row = STATUSES[failure.code] if failure.replay is None else _OUT_OF_ORDER
        (status, kind), text = row, final_text(failure)
    else:
        (status, kind), text = _WAIT, passing_text(failure)
    error: dict[str, Any] = {"type": kind, "message": text}
    if failure.reason == THREAD_REASON:
        error["details"] = {"error_code": THREAD_REASON, "unsupported": ["thread"]}
    return HttpError(status, headers, msgspec.json.encode({"type": "error", "error": error}))
