"""Failures in the shape of the OpenAI APIs, with statuses and words that clients treat rightly.

Seen with Codex 0.169: 400 stops at once, 401 to 404, 413 and 424 are sent six times, 429 fails at once unless
it says how long to wait.  So what is final is 400 on Responses, but for the key and what HTTP itself names.
OpenCode 1.18.34 compacts on the code `context_length_exceeded` and stops at 400 to 404 and 424.
OpenCode 2.x goes by `x-should-retry` before all else, and stops at 402 for the type `insufficient_quota`
(packages/ai/src/provider-error.ts, 4933a71b).  Whatever may pass was already tried again by this gateway, so
only a short throttle is handed on as passing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from kiro_auth.failures import Failure
from kiro_auth.surfaces.surface import HttpError
from kiro_auth.surfaces.waiting import final_text, passing_text, retry_headers, seconds_to_wait

_WAIT: Final = (429, "rate_limit_error", "rate_limit_exceeded")
_INVALID: Final = (400, "invalid_request_error")

_FINAL_OF_RESPONSES: Final = 400
_KEPT_ON_RESPONSES: Final = (
    *("KA-KEY", "KA-KEY-EXPIRED", "KA-KEY-REVOKED", "KA-KEY-BUDGET"),
    *("KA-BUDGET", "KA-ORIGIN", "KA-SIZE", "KA-ENCODING", "KA-HEADERS"),
)

ERRORS: Final[Mapping[str, tuple[int, str, str | None]]] = {
    "KA-REQUEST": (*_INVALID, None),
    "KA-BODY": (*_INVALID, None),
    "KA-SIGNATURE": (*_INVALID, None),
    "KA-CONVERSATION": (*_INVALID, None),
    "KA-OVERFLOW": (*_INVALID, "context_length_exceeded"),
    "KA-MODEL": (404, "invalid_request_error", "model_not_found"),
    "KA-SIZE": (413, "invalid_request_error", None),
    "KA-ENCODING": (415, "invalid_request_error", None),
    "KA-HEADERS": (431, "invalid_request_error", None),
    "KA-ORIGIN": (403, "permission_error", None),
    "KA-KEY": (401, "authentication_error", "invalid_api_key"),
    "KA-KEY-EXPIRED": (401, "authentication_error", "invalid_api_key"),
    "KA-KEY-REVOKED": (401, "authentication_error", "invalid_api_key"),
    "KA-KEY-ADMIN": (403, "permission_error", None),
    "KA-KEY-MODEL": (403, "permission_error", "model_not_allowed"),
    "KA-KEY-ACCOUNT": (403, "permission_error", None),
    "KA-KEY-BUDGET": (402, "invalid_request_error", None),
    "KA-QUOTA": (402, "insufficient_quota", "insufficient_quota"),
    "KA-OVERAGE": (402, "insufficient_quota", "insufficient_quota"),
    "KA-SUSPENDED": (402, "permission_error", None),
    "KA-BUDGET": (402, "invalid_request_error", None),
    **dict.fromkeys(("KA-CONTINUE", "KA-TOOLS", "KA-IMAGE", "KA-DOCUMENT"), (*_INVALID, None)),
}
"""Status, type and code of final failures that clients tell apart."""
_OTHER: Final = (424, "invalid_request_error", None)
"""Accounts, sign-in, the service, this installation: a person has to read it, a repeat does not help.  After
`api_error` OpenCode 2.x would repeat the request."""


def encode_chat_failure(failure: Failure) -> HttpError:
    """A failure before any output, on Chat Completions."""
    return _encoded(failure, _final(failure))


def encode_responses_failure(failure: Failure) -> HttpError:
    """A failure before any output, on Responses."""
    status, kind, code = _final(failure)
    if failure.code not in _KEPT_ON_RESPONSES:
        status = _FINAL_OF_RESPONSES
    return _encoded(failure, (status, kind, code))


def _final(failure: Failure) -> tuple[int, str, str | None]:
    """Of what was mended and sent again in vain the request is not at fault."""
    return ERRORS.get(failure.code, _OTHER) if failure.replay is None else _OTHER


def _encoded(failure: Failure, final: tuple[int, str, str | None]) -> HttpError:
    wait = seconds_to_wait(failure)
    headers = dict(retry_headers(wait))
    if failure.request_id:
        headers["x-amzn-requestid"] = failure.request_id  # the service's; ours is the gateway's affair
    if wait is None:
        status, kind, code = final
        text = final_text(failure)
    else:
        status, kind, code = _WAIT
        text = passing_text(failure)
    return HttpError(status, headers, _body(kind, code, text))


def stream_error(failure: Failure) -> bytes:
    """The body of a failure that ends a stream.

    None is worded or typed as a throttle: OpenCode 1.18.34 would repeat the request and show the text so far
    again.  OpenCode 2.x repeats it after `api_error` as long as nothing was said, so what cannot pass has
    another type.
    """
    _, kind, code = _final(failure)
    if failure.entry.passing:
        kind = "api_error"
    return _body(kind, code, final_text(failure))


def _body(kind: str, code: str | None, text: str) -> bytes:
    error = {"message": text, "type": kind, "param": None, "code": code}
    return msgspec.json.encode({"error": error})
