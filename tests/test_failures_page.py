"""docs/failures.md: every refusal of the service, what it is taken for, and what comes of it.

The page is the expectation, the code is what is tested.  To write the page anew after a change that is meant:
`KIRO_WRITE_DOCS=1 make test ARGS=tests/test_failures_page.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.accounts.health import STATE_AFTER
from kiro_auth.accounts.retry import RETRIES
from kiro_auth.explanations import CAUSES
from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.faults import classify, classify_exception
from kiro_auth.kiro.request.replays import REPLAYS
from kiro_auth.surfaces.wording import final_wording

PAGE = Path(__file__).parents[1] / "docs" / "failures.md"
NAMESPACE = "com.amazon.aws.codewhisperer#"

# Exception, status in the REST dialect, reasons, and texts that come without a reason.
REFUSALS: list[tuple[str, int, list[str | None], list[str]]] = [
    (
        "AccessDeniedException", 403,
        [
            "FEATURE_NOT_SUPPORTED", "TEMPORARILY_SUSPENDED", "UNAUTHORIZED_CUSTOMIZATION_RESOURCE_ACCESS",
            "UNAUTHORIZED_WORKSPACE_CONTEXT_FEATURE_ACCESS", None,
        ],
        [
            "The bearer token included in the request is invalid.",
            "Your User ID (1) temporarily is suspended. We've locked it as a security precaution.",
            "Your subscription does not support this application.",
            "User is not authorized to make this call.",
            "AWS Builder ID is not supported for this operation.",
        ],
    ),
    (
        "ThrottlingException", 429,
        [
            "DAILY_REQUEST_COUNT", "MONTHLY_REQUEST_COUNT", "HOURLY_REQUEST_COUNT", "WEEKLY_REQUEST_COUNT",
            "USAGE_LIMIT_REACHED", "INSUFFICIENT_MODEL_CAPACITY", "INSUFFICIENT_THROUGHPUT",
            "USER_REQUEST_RATE_EXCEEDED", "SERVICE_REQUEST_RATE_EXCEEDED", "CREDIT_CONSUMPTION_RATE_EXCEEDED",
            None,
        ],
        [
            "We have detected suspicious activity and placed limits.", "The model is under high load.",
            "60-minute credit limit exceeded.", "You reached a daily limit. Return tomorrow.",
            "Maximum of your plan reached for this month.",
        ],
    ),
    (
        "ServiceQuotaExceededException", 402,
        ["CONVERSATION_LIMIT_EXCEEDED", "MONTHLY_REQUEST_COUNT", "OVERAGE_REQUEST_LIMIT_EXCEEDED", None],
        ["You have reached your limit for overages."],
    ),
    (
        "ValidationException", 400,
        [
            "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG", "INVALID_CONVERSATION_ID",
            "INVALID_MODEL_ID", "INVALID_KMS_GRANT", "REQUEST_BODY_INVALID", "REQUEST_BODY_INVALID_JSON",
            "TOOL_CONFIG_MISSING", "TOOL_DUPLICATE", "TOOL_SCHEMA_INVALID", "TOOL_USE_RESULT_MISMATCH",
            "THINKING_SIGNATURE_INVALID", "IMAGE_COUNT_EXCEEDED", "IMAGE_SIZE_EXCEEDED",
            "IMAGE_DIMENSION_EXCEEDED", "IMAGE_FORMAT_UNSUPPORTED", "IMAGE_MIME_MISMATCH",
            "DOCUMENT_COUNT_EXCEEDED", "DOCUMENT_DUPLICATE_NAME", "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
            "DOCUMENT_MODEL_NOT_SUPPORTED", "DOCUMENT_PASSWORD_PROTECTED", "DOCUMENT_SIZE_EXCEEDED", None,
        ],
        [
            "Input is too long.", "profileArn is required for this request.", "Invalid profileArn.",
            "Invalid model ID.", "additionalModelRequestFields is not supported for this model",
            "Invalid tool use format.", "The selected model cannot continue this conversation.",
            "This model does not support images.",
        ],
    ),
    (
        "InternalServerException", 500,
        ["MODEL_TEMPORARILY_UNAVAILABLE", None],
        ["Encountered unexpectedly high load when processing the request, please try again."],
    ),
    ("ServiceUnavailableException", 503, [None], []),
    ("ResourceNotFoundException", 404, [None], []),
    (
        "ConflictException", 409,
        ["CUSTOMER_KMS_KEY_DISABLED", "CUSTOMER_KMS_KEY_INVALID_KEY_POLICY", "MISMATCHED_KMS_KEY", None],
        [],
    ),
    ("ExpiredTokenException", 403, [None], []),
    ("UnrecognizedClientException", 403, [None], []),
    ("UnknownOperationException", 404, [None], []),
    ("AccountSuspendedException", 403, [None], []),
    ("ModelTimeoutException", 500, [None], []),
]  # fmt: skip
BARE = (401, 402, 403, 404, 413, 423, 429, 500, 502, 503, 504, 524)
"""Statuses without a word."""


def cases() -> list[tuple[str, int, str | None, str]]:
    """Exception, status, reason, text."""
    return [
        (kind, status, reason, text)
        for kind, status, reasons, texts in REFUSALS
        for reason, text in [*((reason, "") for reason in reasons), *((None, text) for text in texts)]
    ]


def body(kind: str, reason: str | None, text: str) -> bytes:
    return json.dumps({"__type": NAMESPACE + kind, "message": text or "No.", "reason": reason}).encode()


def rest(kind: str, status: int, reason: str | None, text: str) -> Failure:
    return classify(status=status, headers={"x-amzn-errortype": kind}, body=body(kind, reason, text))


WORDS = {"fields": "the settings", "reasoning": "reasoning", "images": "images", "documents": "documents"}


def again(code: str) -> str:
    if code == "KA-THROTTLE":
        return "`rate_limit_max_retries` times"
    if code == "KA-TOKEN":
        return "once, with a renewed token"
    if replay := REPLAYS.get(code):
        what = f"without {WORDS[replay.without]}" if replay.without else "as it was"
        return f"once, {what}" + (" (a listed model)" if code == "KA-MODEL" else "")
    times = RETRIES.get(code)
    return "no" if times is None else "once" if times == 1 else f"{times} times"


def statuses(code: str) -> str:
    """By API, in the order of the page; final ones, as no wait is known."""
    failure = Failure(code=code, message="It failed.", retry_after=7 if code == "KA-THROTTLE" else None)
    found = [surface.encode_failure(failure) for surface in SURFACES.values()]
    kinds = [json.loads(error.body)["error"] for error in found]
    words = [kind.get("code") or kind["type"] for kind in kinds]
    return " | ".join(f"{error.status} `{word}`" for error, word in zip(found, words, strict=True))


def codes_table() -> str:
    rows = [
        "| Code | It means | Account | Tried again | Messages | Chat Completions | Responses |",
        "|---|---|---|---|---|---|---|",
    ]
    for code, entry in CATALOGUE.items():
        state = f"`{STATE_AFTER[code]}`" if code in STATE_AFTER else "as it was"
        rows.append(f"| {code} | {entry.title} | {state} | {again(code)} | {statuses(code)} |")
    return "\n".join(rows) + "\n"


def refusals_table() -> str:
    rows = ["| Kiro says | with | Code |", "|---|---|---|"]
    for kind, status, reason, text in cases():
        said = f"`{reason}`" if reason else f"“{text}”" if text else "no reason"
        rows.append(f"| {kind} | {said} | {rest(kind, status, reason, text).code} |")
    for status in BARE:
        found = classify(status=status, headers={}, body=b"")
        rows.append(f"| status {status} | nothing | {found.code} |")
    return "\n".join(rows) + "\n"


def causes_table() -> str:
    rows = ["| Code | What leads to it | What to do |", "|---|---|---|"]
    rows += [f"| {code} | {CAUSES[code]} | {entry.remedy} |" for code, entry in CATALOGUE.items()]
    return "\n".join(rows) + "\n"


TABLES = {"codes": codes_table, "causes": causes_table, "refusals": refusals_table}


def test_every_code_is_explained_and_no_other() -> None:
    assert list(CAUSES) == list(CATALOGUE)


@pytest.mark.parametrize("name", TABLES)
def test_the_page_is_what_the_program_does(name: str) -> None:
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest_of_page = PAGE.read_text().partition(begin)
    written, _, after = rest_of_page.partition(end)
    if os.environ.get("KIRO_WRITE_DOCS"):
        PAGE.write_text(f"{before}{begin}{TABLES[name]()}{end}{after}")
    else:
        assert written == TABLES[name]()


def test_a_refusal_means_the_same_in_both_dialects_and_inside_a_stream() -> None:
    for kind, status, reason, text in cases():
        code = rest(kind, status, reason, text).code

        # The other dialect knows 400 and 500 only, and no header.
        rpc = classify(status=400 if status < 500 else 500, headers={}, body=body(kind, reason, text))
        inside = classify_exception(kind, body(kind, reason, text))

        assert (rpc.code, inside.code) == (code, code), (kind, status, reason, text)


@pytest.mark.parametrize("path", SURFACES)
def test_a_final_failure_holds_nothing_that_clients_repeat_for(path: str) -> None:
    for case in cases():
        error: Any = SURFACES[path].encode_failure(rest(*case))
        body = error.body.decode()

        assert json.loads(body)["error"]["message"], case
        assert ("retry-after" in error.headers) == (error.status == 429), case
        assert error.status == 429 or final_wording(body) == body, case
