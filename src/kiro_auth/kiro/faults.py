"""What the service's refusals mean: type and reason first, its words next, the HTTP status last.

The same failure arrives in several dresses: as an HTTP error with a modelled or a generic status, as an
exception inside a stream, from a load balancer as HTML.  The table below is searched from the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.failures import CATALOGUE, Failure


class _Said(Struct, frozen=True):
    """A refusal in the service's words: exception name, reason and text lower-case for searching."""

    kind: str
    reason: str
    text: str
    status: int | None
    wait: float | None


class _Row(Struct, frozen=True):
    """One line of the table: any of the four fits."""

    code: str
    reasons: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    message: str | None = None


_TABLE: Final = (
    _Row(
        "KA-SUSPENDED",
        ("TEMPORARILY_SUSPENDED",),
        ("temporarily is suspended", "temporarily suspended", "locked your account"),
        ("accountsuspended",),
        (423,),
    ),
    _Row(
        "KA-OVERFLOW",
        ("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG", "MODEL_CONTEXT_WINDOW_EXCEEDED"),
        ("input is too long", "prompt is too long"),
        ("contentlengthexceeded",),
        (413,),
    ),
    _Row("KA-CONVERSATION", ("CONVERSATION_LIMIT_EXCEEDED",)),
    _Row("KA-OVERAGE", ("OVERAGE_REQUEST_LIMIT_EXCEEDED",), ("limit for overages",)),
    _Row(
        "KA-QUOTA",
        (
            "MONTHLY_REQUEST_COUNT",
            "DAILY_REQUEST_COUNT",
            "HOURLY_REQUEST_COUNT",
            "WEEKLY_REQUEST_COUNT",
            "USAGE_LIMIT_REACHED",
        ),
        kinds=("servicequotaexceeded",),
        statuses=(402,),
    ),
    _Row(
        "KA-CAPACITY",
        ("INSUFFICIENT_MODEL_CAPACITY", "INSUFFICIENT_THROUGHPUT"),
        ("high load", "high traffic"),
    ),
    _Row("KA-CAPACITY", ("MODEL_TEMPORARILY_UNAVAILABLE",), kinds=("modeltimeout",)),
    _Row("KA-MODEL", ("INVALID_MODEL_ID",), ("invalid model.",)),
    _Row("KA-SIGNATURE", ("THINKING_SIGNATURE_INVALID",), ("different conversation prefix",)),
    _Row(
        "KA-THROTTLE",
        ("USER_REQUEST_RATE_EXCEEDED", "SERVICE_REQUEST_RATE_EXCEEDED", "CREDIT_CONSUMPTION_RATE_EXCEEDED"),
        ("suspicious activity",),
        ("throttling", "toomanyrequests", "slowdown"),
        (429,),
    ),
    _Row(
        "KA-TOKEN",
        texts=("bearer token", "token expired", "token has expired", "invalid token"),
        kinds=("expiredtoken", "unrecognizedclient"),
        statuses=(401,),
    ),
    _Row("KA-PROFILE", texts=("profilearn is required", "invalid profilearn")),
    _Row(
        "KA-KMS",
        (
            "INVALID_KMS_GRANT",
            "CUSTOMER_KMS_KEY_DISABLED",
            "CUSTOMER_KMS_KEY_INVALID_KEY_POLICY",
            "MISMATCHED_KMS_KEY",
        ),
    ),
    _Row(
        "KA-ENTITLEMENT",
        (
            "FEATURE_NOT_SUPPORTED",
            "UNAUTHORIZED_CUSTOMIZATION_RESOURCE_ACCESS",
            "UNAUTHORIZED_WORKSPACE_CONTEXT_FEATURE_ACCESS",
        ),
        ("does not support this application", "not authorized to make this call"),
        ("accessdenied",),
    ),
    _Row(
        "KA-BODY",
        (
            "INVALID_CONVERSATION_ID",
            "REQUEST_BODY_INVALID",
            "REQUEST_BODY_INVALID_JSON",
            "TOOL_CONFIG_MISSING",
            "TOOL_DUPLICATE",
            "TOOL_SCHEMA_INVALID",
            "TOOL_USE_RESULT_MISMATCH",
            "IMAGE_COUNT_EXCEEDED",
            "IMAGE_SIZE_EXCEEDED",
            "IMAGE_DIMENSION_EXCEEDED",
            "IMAGE_FORMAT_UNSUPPORTED",
            "IMAGE_MIME_MISMATCH",
            "DOCUMENT_COUNT_EXCEEDED",
            "DOCUMENT_DUPLICATE_NAME",
            "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
            "DOCUMENT_MODEL_NOT_SUPPORTED",
            "DOCUMENT_PASSWORD_PROTECTED",
            "DOCUMENT_SIZE_EXCEEDED",
        ),
        # Pairing errors were seen under a status of 500: their words tell.
        ("toolresult blocks", "tool_result blocks", "improperly formed"),
        ("validation", "conflict", "resourcenotfound", "serialization"),
        (400, 404, 409),
    ),
    _Row("KA-ENTITLEMENT", statuses=(403,)),
)
"""Every reason that the service's models and its users have named, most telling first."""


def classify(*, status: int | None, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an HTTP refusal means.  Header names are lower-case; `status` None: only the words count."""
    fields = _fields(body)
    kind = headers.get("x-amzn-errortype") or _text(fields, "__type") or _text(fields, "code")
    said = _Said(
        kind=_bare(kind),
        reason=_text(fields, "reason") or _text(fields.get("error"), "reason"),
        text=_text(fields, "message") or _text(fields, "Message") or _text(fields, "error_description"),
        status=status,
        wait=_wait(fields, headers.get("retry-after"), headers.get("date")),
    )
    request_id = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    if not fields and body.lstrip()[:1] == b"<" and status in (401, 403):
        # A page of a proxy or of a network in between: it says nothing about the account.
        return _failure(
            "KA-SERVICE", said, request_id, "Something between here and Kiro refused the request."
        )
    return _judged(said, request_id)


def classify_exception(name: str, payload: bytes, *, request_id: str | None = None) -> Failure:
    """What an exception inside a stream means; `name` is its `:exception-type` or `:error-code`."""
    fields = _fields(payload)
    said = _Said(
        kind=_bare(name),
        reason=_text(fields, "reason"),
        text=_text(fields, "message") or _text(fields, "Message"),
        status=None,
        wait=_wait(fields, None, None),
    )
    return _judged(said, request_id)


def _judged(said: _Said, request_id: str | None) -> Failure:
    text = said.text.lower()
    for row in _TABLE:
        if (
            said.reason in row.reasons
            or any(words in text for words in row.texts)
            or any(said.kind.startswith(kind) for kind in row.kinds)
        ):
            return _failure(row.code, said, request_id)
    if said.kind:  # a name that no row knows: a fault of the service's own
        return _failure("KA-SERVICE", said, request_id)
    for row in _TABLE:
        if said.status in row.statuses:
            return _failure(row.code, said, request_id)
    return _failure("KA-SERVICE", said, request_id)


_SPEAKING: Final = frozenset({"KA-BODY", "KA-ENTITLEMENT", "KA-PROFILE", "KA-KMS", "KA-SERVICE"})
"""Codes under which the service's own sentence tells what ours cannot."""


def _failure(code: str, said: _Said, request_id: str | None, message: str | None = None) -> Failure:
    entry = CATALOGUE[code]
    sentence = message or entry.title
    if code in _SPEAKING and said.text and message is None:
        sentence = f"{sentence} It said: {said.text[:300]}"
    elif said.reason and message is None and code in ("KA-QUOTA", "KA-THROTTLE", "KA-CAPACITY"):
        sentence = f"{sentence[:-1]} ({said.reason.lower().replace('_', ' ')})."
    return Failure(
        code=code,
        message=sentence,
        next_step=entry.remedy,
        retry_after=said.wait,
        reason=said.reason or None,
        request_id=request_id,
    )


# ----------------------------------------------------------------------------------- the words read


def _fields(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(fields: Any, name: str) -> str:
    value = fields.get(name) if isinstance(fields, dict) else None
    return value if isinstance(value, str) else ""


def _bare(name: str) -> str:
    """`com.amazon#ThrottlingException:http://…` is `throttlingexception`."""
    name = name.split("#")[-1]
    parts = [part for part in name.split(":") if part]
    return parts[0].strip().lower() if parts else ""


def _wait(fields: Mapping[str, Any], header: str | None, date: str | None) -> float | None:
    """Seconds to wait, as the body or the header says; nothing for zero and less."""
    milliseconds = fields.get("retryAfterMilliseconds")
    if isinstance(milliseconds, int | float) and milliseconds > 0:
        return milliseconds / 1000
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = _seconds_between(date, header)
    return seconds if 0 < seconds < 1e9 else None


def _seconds_between(date: str | None, later: str) -> float:
    """By the service's own clock, whatever ours says; 0 when either cannot be read."""
    try:
        return (parsedate_to_datetime(later) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError):
        return 0.0
