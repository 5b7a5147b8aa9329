"""What the service's refusals mean: its reason first, then its words and the name, the status last.

The same failure arrives in several dresses: as an HTTP error with a modelled or a generic status, as an
exception inside a stream, from a load balancer as HTML.  The table below is searched from the top.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from msgspec import Struct

from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.json_values import as_number, as_object, as_text, first_text, object_in


class _Said(Struct, frozen=True):
    """A refusal in the service's words; `kind` is the exception's bare name in lower case."""

    kind: str
    reason: str
    text: str
    status: int | None
    wait: float | None


class _Row(Struct, frozen=True):
    """One meaning, and what tells it: a reason, words of the text, the start of a name, a status.

    `message` replaces the catalogue's title.  `quote`: the service's own sentence helps, so it is added.
    """

    code: str
    reasons: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    message: str | None = None
    quote: bool = False

    def speaks(self, said: _Said) -> bool:
        """Whether the text or the exception's name is of this row."""
        text = said.text.lower()
        return any(words in text for words in self.texts) or said.kind.startswith(self.kinds)


_LOCKED: Final = _Row(
    "KA-SUSPENDED",
    ("TEMPORARILY_SUSPENDED",),
    ("temporarily is suspended", "temporarily suspended", "locked your account"),
    ("accountsuspended",),
    (423,),
)
_UNKNOWN: Final = _Row("KA-SERVICE", quote=True)

_TABLE: Final = (
    _LOCKED,
    # --- what no other account would do better
    _Row(
        "KA-OVERFLOW",
        ("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG", "MODEL_CONTEXT_WINDOW_EXCEEDED"),
        ("input is too long", "prompt is too long"),
        ("contentlengthexceeded",),
        (413,),
    ),
    _Row("KA-CONVERSATION", ("CONVERSATION_LIMIT_EXCEEDED",)),
    # --- limits of the account
    _Row("KA-OVERAGE", ("OVERAGE_REQUEST_LIMIT_EXCEEDED",), ("limit for overages",)),
    _Row(
        "KA-QUOTA",
        ("MONTHLY_REQUEST_COUNT",),
        message="The account's plan limit for this month is used up.",
    ),
    _Row(
        "KA-QUOTA",
        ("WEEKLY_REQUEST_COUNT",),
        message="The account's plan limit for this week is used up.",
    ),
    _Row(
        "KA-QUOTA",
        ("DAILY_REQUEST_COUNT",),
        message="The account's plan limit for today is used up.",
    ),
    _Row(
        "KA-QUOTA",
        ("HOURLY_REQUEST_COUNT",),
        message="The account's plan limit for this hour is used up.",
    ),
    _Row("KA-QUOTA", ("USAGE_LIMIT_REACHED",), kinds=("servicequotaexceeded",), statuses=(402,)),
    # --- the model
    _Row(
        "KA-CAPACITY",
        ("INSUFFICIENT_MODEL_CAPACITY", "INSUFFICIENT_THROUGHPUT"),
        ("high load", "high traffic"),
    ),
    _Row(
        "KA-CAPACITY",
        ("MODEL_TEMPORARILY_UNAVAILABLE",),
        kinds=("modeltimeout",),
        message="The model does not answer at the moment.",
    ),
    _Row("KA-MODEL", ("INVALID_MODEL_ID",), ("invalid model.",)),
    # --- the account's pace
    _Row(
        "KA-THROTTLE",
        texts=("suspicious activity",),
        message="Kiro sees unusual activity and limits the account for a while; AWS may review it.",
    ),
    _Row(
        "KA-THROTTLE",
        ("CREDIT_CONSUMPTION_RATE_EXCEEDED",),
        message="The account uses credits faster than Kiro allows.",
    ),
    _Row(
        "KA-THROTTLE",
        ("SERVICE_REQUEST_RATE_EXCEEDED",),
        message="Kiro as a whole gets more requests than it takes.",
    ),
    _Row(
        "KA-THROTTLE",
        ("USER_REQUEST_RATE_EXCEEDED",),
        kinds=("throttling", "toomanyrequests", "slowdown"),
        statuses=(429,),
    ),
    # --- the account's sign-in
    _Row("KA-SIGNIN", texts=("invalid_grant",), kinds=("unrecognizedclient",)),
    _Row(
        "KA-TOKEN",
        texts=("bearer token", "token expired", "token has expired", "invalid token"),
        kinds=("expiredtoken",),
        statuses=(401,),
    ),
    # --- the account's rights
    _Row("KA-PROFILE", texts=("profilearn is required", "invalid profilearn"), quote=True),
    _Row("KA-KMS", ("INVALID_KMS_GRANT",), message="Kiro may not use the organisation's encryption key."),
    _Row(
        "KA-KMS",
        ("CUSTOMER_KMS_KEY_DISABLED",),
        message="The organisation's encryption key is turned off.",
    ),
    _Row(
        "KA-KMS",
        ("CUSTOMER_KMS_KEY_INVALID_KEY_POLICY",),
        message="The policy of the organisation's encryption key does not allow Kiro to use it.",
    ),
    _Row(
        "KA-KMS",
        ("MISMATCHED_KMS_KEY",),
        message="The conversation was encrypted with another key than the organisation's present one.",
    ),
    _Row(
        "KA-ENTITLEMENT",
        (
            "FEATURE_NOT_SUPPORTED",
            "UNAUTHORIZED_CUSTOMIZATION_RESOURCE_ACCESS",
            "UNAUTHORIZED_WORKSPACE_CONTEXT_FEATURE_ACCESS",
        ),
        (
            "does not support this application",
            "not authorized to make this call",
            "builder id is not supported",
        ),
        ("accessdenied",),
        quote=True,
    ),
    # --- the request
    _Row("KA-SIGNATURE", ("THINKING_SIGNATURE_INVALID",), ("different conversation prefix",)),
    _Row(
        "KA-BODY",
        ("TOOL_USE_RESULT_MISMATCH",),
        # Seen under a status of 500 too: the words tell.
        ("toolresult blocks", "tool_result blocks"),
        message="Kiro refused the history: its tool calls and results do not match.",
        quote=True,
    ),
    _Row("KA-BODY", ("TOOL_DUPLICATE",), message="Kiro refused a tool that stands twice.", quote=True),
    _Row(
        "KA-BODY",
        ("TOOL_CONFIG_MISSING",),
        message="Kiro refused tool calls of tools that are not declared.",
        quote=True,
    ),
    _Row("KA-BODY", ("TOOL_SCHEMA_INVALID",), message="Kiro refused the schema of a tool.", quote=True),
    _Row(
        "KA-BODY",
        (
            "IMAGE_COUNT_EXCEEDED",
            "IMAGE_SIZE_EXCEEDED",
            "IMAGE_DIMENSION_EXCEEDED",
            "IMAGE_FORMAT_UNSUPPORTED",
            "IMAGE_MIME_MISMATCH",
        ),
        message="Kiro refused an image.",
        quote=True,
    ),
    _Row(
        "KA-BODY",
        (
            "DOCUMENT_COUNT_EXCEEDED",
            "DOCUMENT_DUPLICATE_NAME",
            "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
            "DOCUMENT_MODEL_NOT_SUPPORTED",
            "DOCUMENT_PASSWORD_PROTECTED",
            "DOCUMENT_SIZE_EXCEEDED",
        ),
        message="Kiro refused a document.",
        quote=True,
    ),
    _Row("KA-BODY", ("INVALID_CONVERSATION_ID",), message="Kiro refused the conversation's id.", quote=True),
    _Row(
        "KA-BODY",
        ("REQUEST_BODY_INVALID", "REQUEST_BODY_INVALID_JSON"),
        ("improperly formed",),
        ("validation", "conflict", "resourcenotfound", "serialization"),
        (400, 404, 409),
        quote=True,
    ),
    # --- the service
    _Row(
        "KA-SERVICE", kinds=("unknownoperation",), message="This host of Kiro does not offer the operation."
    ),
    _Row("KA-SERVICE", kinds=("internal", "serviceunavailable", "error"), quote=True),
    # A 403 without a word; told apart from the spoken ones, since another host may do better.
    _Row("KA-ENTITLEMENT", statuses=(403,), quote=True),
)
"""Every reason that the service's models and its users have named, most telling first."""

_BY_REASON: Final = {reason: row for row in _TABLE for reason in row.reasons}
_BY_STATUS: Final = {status: row for row in _TABLE for status in row.statuses}


def classify(*, status: int | None, headers: Mapping[str, str], body: bytes) -> Failure:
    """What an HTTP refusal means.  Header names are lower-case; `status` None: only the words count."""
    fields = object_in(body) or {}
    request_id = headers.get("x-amzn-requestid") or headers.get("x-amz-request-id")
    said = _Said(
        kind=_bare(headers.get("x-amzn-errortype") or first_text(fields, "__type", "code") or ""),
        reason=_reason(fields),
        text=_message(fields),
        status=status,
        wait=_wait(fields, headers.get("retry-after"), headers.get("date")),
    )
    if status in (401, 403) and body.lstrip()[:1] == b"<":
        return _failure(_IN_BETWEEN, said, request_id)
    return _failure(_row(said), said, request_id)


def classify_exception(name: str, payload: bytes) -> Failure:
    """What an exception inside a stream means; `name` is its `:exception-type` or `:error-code`."""
    fields = object_in(payload) or {}
    said = _Said(
        kind=_bare(name),
        reason=_reason(fields),
        text=_message(fields),
        status=None,
        wait=_wait(fields, None, None),
    )
    return _failure(_row(said), said, None)


_IN_BETWEEN: Final = _Row(
    "KA-SERVICE",
    message="A proxy or firewall between here and Kiro refused the request with a page of its own.",
)


def _row(said: _Said) -> _Row:
    if _LOCKED.speaks(said):  # a lock is a lock, whatever reason stands beside it
        return _LOCKED
    if said.reason in _BY_REASON:
        return _BY_REASON[said.reason]
    spoken = next((row for row in _TABLE if row.speaks(said)), None)
    return spoken or _BY_STATUS.get(said.status or 0, _UNKNOWN)


def _failure(row: _Row, said: _Said, request_id: str | None) -> Failure:
    entry = CATALOGUE[row.code]
    sentence = row.message or entry.title
    if row.quote and said.text:
        sentence = f"{sentence} It said: {_printable(said.text)}"
    return Failure(
        code=row.code,
        message=sentence,
        next_step=entry.remedy,
        retry_after=said.wait,
        reason=said.reason or None,
        request_id=request_id,
    )


# ----------------------------------------------------------------------------------- the words read

_QUOTED: Final = 300  # characters of the service's sentence
_PRIVATE: Final = re.compile(r"\S{1,64}@\S{1,255}|arn:[^\s,;\"')]+|[\w+/=~.-]{40,}")


def _printable(text: str) -> str:
    """The service's sentence without what may be an e-mail, a resource name or a token."""
    return " ".join(_PRIVATE.sub("…", text).split())[:_QUOTED]


def _message(fields: Mapping[str, Any]) -> str:
    plain = first_text(fields, "message", "Message", "error_description")
    return plain or as_text(as_object(fields.get("error")).get("message")) or ""


def _reason(fields: Mapping[str, Any]) -> str:
    return as_text(fields.get("reason")) or as_text(as_object(fields.get("error")).get("reason")) or ""


def _bare(name: str) -> str:
    """`com.amazon#ThrottlingException:http://…` is `throttlingexception`."""
    return name.strip().partition(":")[0].rpartition("#")[2].lower()


def _wait(fields: Mapping[str, Any], header: str | None, date: str | None) -> float | None:
    """Seconds to wait, as the body or the header says; nothing for zero and less."""
    milliseconds = as_number(fields.get("retryAfterMilliseconds"))
    if milliseconds is not None and 0 < milliseconds < _LONGEST_WAIT * 1000:
        return milliseconds / 1000
    seconds = _seconds(header, date) if header else 0.0
    return seconds if 0 < seconds < _LONGEST_WAIT else None


_LONGEST_WAIT: Final = 1e9  # seconds; beyond it stands no time that anybody meant


def _seconds(header: str, date: str | None) -> float:
    """`Retry-After` as seconds or as a date by the service's own clock; 0 for what cannot be read."""
    try:
        return float(header)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(header) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
