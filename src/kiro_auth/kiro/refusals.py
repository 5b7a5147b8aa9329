"""The table of what the service's refusals mean; `faults` reads a refusal and looks it up here."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from kiro_auth.failures import Period


class Meaning(Struct, frozen=True):
    """One meaning, and what tells it: a reason, words of the text, the start of a name, a status.

    `texts` stand somewhere in the sentence, and all `patterns` are found near its beginning; all are
    lower-case, and count only in exceptions whose names begin as in `named`, if any are there, and in those
    without a name.  `message` replaces the catalogue's title.  `quote`: the service's own sentence helps, so
    it is added.  `period` is what a limit counts by.
    """

    code: str
    reasons: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    message: str | None = None
    quote: bool = False
    patterns: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    period: Period | None = None

    def speaks(self, kind: str, text: str) -> bool:
        """Whether the exception's bare name, in lower case, or the service's sentence is of this row."""
        if kind.startswith(self.kinds):
            return True
        if kind and self.named and not kind.startswith(self.named):
            return False
        text = text.lower()
        beginning = text[:_SEARCHED]
        by_pattern = bool(self.patterns) and all(re.search(found, beginning) for found in self.patterns)
        return by_pattern or any(words in text for words in self.texts)


_SEARCHED: Final = 2000
"""Characters of a sentence in which patterns are searched: Kiro may quote a request behind its words."""
_THROTTLES: Final = ("throttling", "toomanyrequests", "slowdown")


def _limit(period: Period, reason: str, words: str) -> tuple[Meaning, Meaning]:
    """A limit of the plan by the hour, day, week or month.

    Some are told by a reason, some only in the `words` (a pattern) of a throttle that has none (2026), which
    are quoted then.  Other refusals may quote a request, which may speak of limits and days.
    """
    when = "today" if period == "day" else f"this {period}"
    message = f"The account's plan limit for {when} is used up."
    by_reason = Meaning("KA-QUOTA", (reason,), message=message, period=period)
    return by_reason, Meaning(
        "KA-QUOTA",
        message=message,
        quote=True,
        patterns=(r"\b(?:limit|maximum|quota|allowance)\b", rf"\b(?:{words})\b"),
        named=(*_THROTTLES, "servicequotaexceeded"),
        period=period,
    )


def _refused(things: str) -> str:
    """A sentence by which a model refuses something that is attached."""
    no = r"(?:not support\w*|unsupported|could not process|cannot process|unable to process|invalid)"
    return rf"\b{no}\b[^.]*\b(?:{things})\b|\b(?:{things})\b[^.]*\b{no}\b"


LOCKED: Final = Meaning(
    "KA-SUSPENDED",
    ("TEMPORARILY_SUSPENDED",),
    ("temporarily is suspended", "temporarily suspended", "locked your account"),
    ("accountsuspended",),
    (423,),
)
UNKNOWN: Final = Meaning("KA-SERVICE", quote=True)

TABLE: Final = (
    LOCKED,
    # --- what no other account would do better
    Meaning(
        "KA-OVERFLOW",
        ("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG", "MODEL_CONTEXT_WINDOW_EXCEEDED"),
        ("input is too long", "prompt is too long"),
        ("contentlengthexceeded",),
        (413,),
    ),
    Meaning("KA-CONVERSATION", ("CONVERSATION_LIMIT_EXCEEDED",)),
    # --- limits of the account
    Meaning("KA-OVERAGE", ("OVERAGE_REQUEST_LIMIT_EXCEEDED",), ("limit for overages",)),
    *_limit("hour", "HOURLY_REQUEST_COUNT", r"(?:60|sixty)[- ]minutes?|hourly|(?:this|per|an|1|one)[- ]hour"),
    *_limit("day", "DAILY_REQUEST_COUNT", r"daily|24[- ]hours?|(?:per|this|a)[- ]day|today|tomorrow"),
    *_limit("week", "WEEKLY_REQUEST_COUNT", r"weekly|(?:per|this|a|next)[- ]week"),
    *_limit("month", "MONTHLY_REQUEST_COUNT", r"monthly|(?:per|this|a|next)[- ]month"),
    Meaning("KA-QUOTA", ("USAGE_LIMIT_REACHED",), kinds=("servicequotaexceeded",), statuses=(402,)),
    # --- the model
    Meaning(
        "KA-CAPACITY",
        ("INSUFFICIENT_MODEL_CAPACITY", "INSUFFICIENT_THROUGHPUT"),
        ("high load", "high traffic"),
    ),
    Meaning(
        "KA-CAPACITY",
        ("MODEL_TEMPORARILY_UNAVAILABLE",),
        kinds=("modeltimeout",),
        message="The model does not answer at the moment.",
    ),
    Meaning("KA-MODEL", ("INVALID_MODEL_ID",), ("invalid model.", "invalid model id")),
    # --- the account's pace
    Meaning("KA-ACTIVITY", texts=("suspicious activity", "unusual activity")),
    Meaning(
        "KA-THROTTLE",
        ("CREDIT_CONSUMPTION_RATE_EXCEEDED",),
        message="The account uses credits faster than Kiro allows.",
    ),
    Meaning(
        "KA-THROTTLE",
        ("SERVICE_REQUEST_RATE_EXCEEDED",),
        message="Kiro as a whole gets more requests than it takes.",
    ),
    Meaning("KA-THROTTLE", ("USER_REQUEST_RATE_EXCEEDED",)),
    # One that nobody has named: its own words may say more, such as a limit of the plan.
    Meaning(
        "KA-THROTTLE",
        kinds=_THROTTLES,
        statuses=(429,),
        quote=True,
    ),
    # --- the account's sign-in
    Meaning("KA-SIGNIN", texts=("invalid_grant",), kinds=("unrecognizedclient",)),
    Meaning(
        "KA-TOKEN",
        texts=("bearer token", "token expired", "token has expired", "invalid token"),
        kinds=("expiredtoken",),
        statuses=(401,),
    ),
    # --- the account's rights
    Meaning("KA-PROFILE", texts=("profilearn is required", "invalid profilearn"), quote=True),
    Meaning("KA-KMS", ("INVALID_KMS_GRANT",), message="Kiro may not use the organisation's encryption key."),
    Meaning(
        "KA-KMS",
        ("CUSTOMER_KMS_KEY_DISABLED",),
        message="The organisation's encryption key is turned off.",
    ),
    Meaning(
        "KA-KMS",
        ("CUSTOMER_KMS_KEY_INVALID_KEY_POLICY",),
        message="The policy of the organisation's encryption key does not allow Kiro to use it.",
    ),
    Meaning(
        "KA-KMS",
        ("MISMATCHED_KMS_KEY",),
        message="The conversation was encrypted with another key than the organisation's present one.",
    ),
    Meaning(
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
    Meaning("KA-SIGNATURE", ("THINKING_SIGNATURE_INVALID",), ("different conversation prefix",)),
    Meaning("KA-CONTINUE", texts=("cannot continue this conversation",)),
    Meaning("KA-FIELDS", texts=("additionalmodelrequestfields",)),
    Meaning("KA-TOOLS", texts=("invalid tool use format",)),
    Meaning(
        "KA-BODY",
        ("TOOL_USE_RESULT_MISMATCH",),
        # Seen under a status of 500 too: the words tell.
        ("toolresult blocks", "tool_result blocks"),
        message="Kiro refused the history: its tool calls and results do not match.",
        quote=True,
    ),
    Meaning("KA-BODY", ("TOOL_DUPLICATE",), message="Kiro refused a tool that stands twice.", quote=True),
    Meaning(
        "KA-BODY",
        ("TOOL_CONFIG_MISSING",),
        message="Kiro refused tool calls of tools that are not declared.",
        quote=True,
    ),
    Meaning("KA-BODY", ("TOOL_SCHEMA_INVALID",), message="Kiro refused the schema of a tool.", quote=True),
    Meaning(
        "KA-IMAGE",
        (
            "IMAGE_COUNT_EXCEEDED",
            "IMAGE_SIZE_EXCEEDED",
            "IMAGE_DIMENSION_EXCEEDED",
            "IMAGE_FORMAT_UNSUPPORTED",
            "IMAGE_MIME_MISMATCH",
        ),
        quote=True,
        patterns=(_refused("images?|pictures?"),),
    ),
    Meaning(
        "KA-DOCUMENT",
        (
            "DOCUMENT_COUNT_EXCEEDED",
            "DOCUMENT_DUPLICATE_NAME",
            "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
            "DOCUMENT_MODEL_NOT_SUPPORTED",
            "DOCUMENT_PASSWORD_PROTECTED",
            "DOCUMENT_SIZE_EXCEEDED",
        ),
        quote=True,
        patterns=(_refused("documents?|pdfs?"),),
    ),
    Meaning(
        "KA-BODY", ("INVALID_CONVERSATION_ID",), message="Kiro refused the conversation's id.", quote=True
    ),
    Meaning(
        "KA-BODY",
        ("REQUEST_BODY_INVALID", "REQUEST_BODY_INVALID_JSON"),
        ("improperly formed",),
        ("validation", "conflict", "resourcenotfound", "serialization"),
        (400, 404, 409),
        quote=True,
    ),
    # --- the service
    Meaning(
        "KA-SERVICE", kinds=("unknownoperation",), message="This host of Kiro does not offer the operation."
    ),
    Meaning("KA-SERVICE", kinds=("internal", "serviceunavailable", "error"), quote=True),
    # A 403 without a word; told apart from the spoken ones, since another host may do better.
    Meaning("KA-ENTITLEMENT", statuses=(403,), quote=True),
)
"""Every reason that the service's models and its users have named, most telling first."""
