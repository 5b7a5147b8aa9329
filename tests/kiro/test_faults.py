"""What refusals of the service are taken for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import CATALOGUE, Cause, Failure
from kiro_auth.kiro.faults import classify, classify_exception


def refused(status: int | None = 400, kind: str = "", **body: Any) -> Failure:
    """What a JSON refusal over HTTP means; `kind` is the exception's name in the header."""
    headers = {"x-amzn-errortype": kind} if kind else {}
    return classify(status=status, headers=headers, body=json.dumps(body).encode())


REASONS = {
    "KA-SUSPENDED": ["TEMPORARILY_SUSPENDED"],
    "KA-OVERFLOW": ["CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG", "MODEL_CONTEXT_WINDOW_EXCEEDED"],
    "KA-CONVERSATION": ["CONVERSATION_LIMIT_EXCEEDED"],
    "KA-OVERAGE": ["OVERAGE_REQUEST_LIMIT_EXCEEDED"],
    "KA-QUOTA": [
        "MONTHLY_REQUEST_COUNT",
        "WEEKLY_REQUEST_COUNT",
        "DAILY_REQUEST_COUNT",
        "HOURLY_REQUEST_COUNT",
        "USAGE_LIMIT_REACHED",
    ],
    "KA-CAPACITY": [
        "INSUFFICIENT_MODEL_CAPACITY",
        "INSUFFICIENT_THROUGHPUT",
        "MODEL_TEMPORARILY_UNAVAILABLE",
    ],
    "KA-MODEL": ["INVALID_MODEL_ID"],
    "KA-THROTTLE": [
        "USER_REQUEST_RATE_EXCEEDED",
        "SERVICE_REQUEST_RATE_EXCEEDED",
        "CREDIT_CONSUMPTION_RATE_EXCEEDED",
    ],
    "KA-SIGNATURE": ["THINKING_SIGNATURE_INVALID"],
    "KA-KMS": [
        "INVALID_KMS_GRANT",
        "CUSTOMER_KMS_KEY_DISABLED",
        "CUSTOMER_KMS_KEY_INVALID_KEY_POLICY",
        "MISMATCHED_KMS_KEY",
    ],
    "KA-ENTITLEMENT": [
        "FEATURE_NOT_SUPPORTED",
        "UNAUTHORIZED_CUSTOMIZATION_RESOURCE_ACCESS",
        "UNAUTHORIZED_WORKSPACE_CONTEXT_FEATURE_ACCESS",
    ],
    "KA-BODY": [
        "INVALID_CONVERSATION_ID",
        "REQUEST_BODY_INVALID",
        "REQUEST_BODY_INVALID_JSON",
        "TOOL_CONFIG_MISSING",
        "TOOL_DUPLICATE",
        "TOOL_SCHEMA_INVALID",
        "TOOL_USE_RESULT_MISMATCH",
    ],
    "KA-IMAGE": [
        "IMAGE_COUNT_EXCEEDED",
        "IMAGE_SIZE_EXCEEDED",
        "IMAGE_DIMENSION_EXCEEDED",
        "IMAGE_FORMAT_UNSUPPORTED",
        "IMAGE_MIME_MISMATCH",
    ],
    "KA-DOCUMENT": [
        "DOCUMENT_COUNT_EXCEEDED",
        "DOCUMENT_DUPLICATE_NAME",
        "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
        "DOCUMENT_MODEL_NOT_SUPPORTED",
        "DOCUMENT_PASSWORD_PROTECTED",
        "DOCUMENT_SIZE_EXCEEDED",
    ],
}


@pytest.mark.parametrize(("code", "reason"), [(code, reason) for code in REASONS for reason in REASONS[code]])
@pytest.mark.parametrize("dress", ["HTTP", "nested", "exception in the stream"])
def test_a_named_reason_tells_whatever_carries_it(code: str, reason: str, dress: str) -> None:
    said = {"message": "Please try again.", "reason": reason}
    if dress == "HTTP":
        failures = [refused(status, "ValidationException", **said) for status in (400, 402, 403, 429, 500)]
    elif dress == "nested":
        failures = [refused(500, error=said)]
    else:
        payload = json.dumps(said).encode()
        failures = [classify_exception(n, payload) for n in ("throttlingException", "ns#Odd", "error", "")]
    for failure in failures:
        assert (failure.code, failure.reason) == (code, reason)


BY_WORDS = [
    ("KA-SUSPENDED", 403, "AccessDeniedException", "Your User ID (x) temporarily is suspended."),
    ("KA-SUSPENDED", 400, "", "We have locked your account as a precaution."),
    ("KA-SUSPENDED", 403, "AccountSuspendedException", ""),
    ("KA-SUSPENDED", 423, "", ""),
    ("KA-OVERFLOW", 400, "ValidationException", "Input is too long for requested model."),
    ("KA-OVERFLOW", 500, "ContentLengthExceededException", ""),
    ("KA-OVERFLOW", 413, "", ""),
    ("KA-OVERAGE", 402, "", "You have reached the limit for overages."),
    ("KA-QUOTA", 402, "", ""),
    ("KA-QUOTA", 400, "ServiceQuotaExceededException", ""),
    (
        "KA-CAPACITY",
        500,
        "InternalServerException",
        "Encountered unexpectedly high load when processing the request, please try again.",
    ),
    ("KA-CAPACITY", 429, "ThrottlingException", "We are seeing high traffic for this model."),
    ("KA-CAPACITY", 500, "ModelTimeoutException", ""),
    ("KA-MODEL", 400, "ValidationException", "Invalid model. Please select a different model."),
    ("KA-THROTTLE", 429, "ThrottlingException", "Rate exceeded"),
    ("KA-THROTTLE", 400, "ThrottlingException", ""),
    ("KA-THROTTLE", 429, "", ""),
    ("KA-ACTIVITY", 400, "", "Due to suspicious activity, we are imposing temporary limits."),
    ("KA-ACTIVITY", 429, "ThrottlingException", "We noticed unusual activity of your account."),
    ("KA-QUOTA", 429, "ThrottlingException", "Your 60-minute credit limit was exceeded"),
    ("KA-QUOTA", 400, "ThrottlingException", "You have reached your daily limit. Return tomorrow."),
    ("KA-QUOTA", 429, "ThrottlingException", "Maximum requests reached for this month."),
    ("KA-QUOTA", 429, "", "The weekly allowance is spent."),
    ("KA-CAPACITY", 429, "ThrottlingException", "High traffic today: please try again."),
    ("KA-MODEL", 400, "ValidationException", "Invalid model ID. Please select a different model."),
    ("KA-FIELDS", 400, "ValidationException", "additionalModelRequestFields is not supported here."),
    ("KA-FIELDS", 400, "", "Invalid additionalModelRequestFields: property 'a' is not defined."),
    ("KA-TOOLS", 400, "ValidationException", "Invalid tool use format."),
    ("KA-CONTINUE", 400, "", "The selected model cannot continue this conversation. Choose another."),
    ("KA-IMAGE", 400, "ValidationException", "This model does not support image input."),
    ("KA-IMAGE", 400, "", "Could not process image in messages.2.content.0"),
    ("KA-DOCUMENT", 400, "", "The document format is not supported."),
    ("KA-TOKEN", 403, "", "The bearer token included in the request is invalid."),
    ("KA-TOKEN", 400, "AccessDeniedException", "The bearer token included in the request is invalid."),
    ("KA-TOKEN", 403, "AccessDeniedException", "Token expired"),
    ("KA-TOKEN", 400, "ExpiredTokenException", ""),
    ("KA-TOKEN", 401, "", ""),
    ("KA-SIGNIN", 403, "UnrecognizedClientException", ""),
    ("KA-PROFILE", 400, "ValidationException", "profileArn is required for this request."),
    ("KA-PROFILE", 400, "ValidationException", "Invalid profileArn."),
    ("KA-ENTITLEMENT", 403, "", "Your subscription does not support this application."),
    ("KA-ENTITLEMENT", 400, "AccessDeniedException", "User is not authorized to make this call."),
    ("KA-ENTITLEMENT", 400, "", "AWS Builder ID is not supported for this operation."),
    ("KA-BODY", 400, "ValidationException", "Improperly formed request."),
    (
        "KA-BODY",
        500,
        "InternalServerException",
        "The number of toolResult blocks exceeds the number of toolUse blocks.",
    ),
    ("KA-BODY", 404, "ResourceNotFoundException", ""),
    ("KA-BODY", 409, "ConflictException", ""),
    ("KA-BODY", 400, "", ""),
    ("KA-SERVICE", 500, "InternalServerException", "Something broke."),
    ("KA-SERVICE", 400, "InternalServerException", ""),
    ("KA-SERVICE", 500, "ServiceUnavailableException", ""),
    ("KA-SERVICE", 404, "UnknownOperationException", ""),
    ("KA-SERVICE", 502, "", ""),
    ("KA-SERVICE", None, "", ""),
    ("KA-QUOTA", 402, "BrandNewException", ""),
    ("KA-SERVICE", 418, "BrandNewException", ""),
]


@pytest.mark.parametrize(("code", "status", "kind", "text"), BY_WORDS)
def test_without_a_reason_words_tell_then_the_name_then_the_status(
    code: str, status: int | None, kind: str, text: str
) -> None:
    assert refused(status, kind, message=text, reason=None).code == code
    assert refused(status, kind, Message=text).code == code
    assert refused(status, kind.upper(), message=text.upper()).code == code


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(
            {"x-amzn-errortype": "ThrottlingException:http://amazon.com/x#y/"}, {}, id="header, URL"
        ),
        pytest.param({"x-amzn-errortype": "com.amazon.kiro#ThrottlingException"}, {}, id="header, namespace"),
        pytest.param({}, {"__type": "com.amazon.aws.codewhisperer#ThrottlingException"}, id="__type"),
        pytest.param({}, {"code": "ThrottlingException"}, id="code"),
    ],
)
def test_the_name_is_read_wherever_it_stands(headers: dict[str, str], body: dict[str, str]) -> None:
    assert classify(status=400, headers=headers, body=json.dumps(body).encode()).code == "KA-THROTTLE"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("throttlingException", "KA-THROTTLE"),
        ("com.amazon#ThrottlingException", "KA-THROTTLE"),
        ("SlowDown", "KA-THROTTLE"),
        ("ContentLengthExceededException", "KA-OVERFLOW"),
        ("ModelTimeoutException", "KA-CAPACITY"),
        ("InternalFailure", "KA-SERVICE"),
        ("ServiceUnavailable", "KA-SERVICE"),
        ("error", "KA-SERVICE"),
        ("", "KA-SERVICE"),
    ],
)
def test_an_exception_in_the_stream_is_told_by_its_name(name: str, code: str) -> None:
    assert classify_exception(name, b"{}").code == code


def test_a_known_reason_says_more_than_the_sentence_beside_it() -> None:
    failure = refused(400, message="Invalid token at line 1", reason="REQUEST_BODY_INVALID_JSON")
    assert failure.code == "KA-BODY"


def test_a_lock_is_a_lock_whatever_reason_stands_beside_it() -> None:
    failure = refused(403, message="We locked your account.", reason="FEATURE_NOT_SUPPORTED")
    assert failure.code == "KA-SUSPENDED"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "KA-SERVICE"),
        (403, "KA-SERVICE"),
        (429, "KA-THROTTLE"),
        (502, "KA-SERVICE"),
        (503, "KA-SERVICE"),
    ],
)
def test_a_page_of_a_proxy_says_nothing_about_the_account(status: int, code: str) -> None:
    page = b"\n<html><body>403 Forbidden: bearer token, locked your account</body></html>"
    assert classify(status=status, headers={"content-type": "text/html"}, body=page).code == code


def test_a_refusal_without_a_word_has_no_reason_so_that_another_host_may_be_tried() -> None:
    failure = refused(403)
    assert (failure.code, failure.reason) == ("KA-ENTITLEMENT", None)


DATE = "Wed, 01 Oct 2025 10:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        pytest.param({"retryAfterMilliseconds": 300000}, {}, 300.0, id="milliseconds of the body"),
        pytest.param({"retryAfterMilliseconds": 1500}, {"retry-after": "9"}, 1.5, id="the body comes first"),
        pytest.param({"retryAfterMilliseconds": 0}, {"retry-after": "9"}, 9.0, id="zero is no wait"),
        pytest.param({"retryAfterMilliseconds": "soon"}, {}, None, id="words in the body"),
        pytest.param({"retryAfterMilliseconds": 10**400}, {}, None, id="longer than time"),
        pytest.param({}, {"retry-after": "2.5"}, 2.5, id="seconds"),
        pytest.param({}, {"retry-after": "-3"}, None, id="negative"),
        pytest.param({}, {"retry-after": "inf"}, None, id="infinite"),
        pytest.param({}, {"retry-after": "nan"}, None, id="not a number"),
        pytest.param(
            {},
            {"retry-after": "Wed, 01 Oct 2025 10:00:30 GMT", "date": DATE},
            30.0,
            id="a date, by the service's clock",
        ),
        pytest.param(
            {}, {"retry-after": "Wed, 01 Oct 2025 09:00:00 GMT", "date": DATE}, None, id="a date gone by"
        ),
        pytest.param({}, {"retry-after": DATE}, None, id="a date without a clock"),
        pytest.param({}, {"retry-after": "later", "date": DATE}, None, id="words"),
        pytest.param(
            {}, {"retry-after": DATE.replace("GMT", "+" + "9" * 20), "date": DATE}, None, id="nowhere"
        ),
        pytest.param({}, {}, None, id="nothing"),
    ],
)
def test_the_wait_is_what_the_service_asks_for(
    body: dict[str, Any], headers: dict[str, str], seconds: float | None
) -> None:
    found = classify(status=429, headers=headers, body=json.dumps(body).encode())
    assert found.retry_after == seconds


@pytest.mark.parametrize("said", ["Too much", "too much:", "It is (too) much", "Too much for 'you'"])
@pytest.mark.parametrize("status", [400, 429, 500])
def test_quoted_words_end_as_a_sentence_before_the_next_one_begins(said: str, status: int) -> None:
    assert refused(status, message=f"  {said}\n").message.endswith(f"It said: {said}.")
    for mark in (".", "!", "?", ".)", "…", '."'):
        assert refused(status, message=said + mark).message.endswith(f"It said: {said}{mark}")
    assert "It said" not in refused(status, message=" \n ").message


def test_the_request_id_is_kept_for_aws_support() -> None:
    for name in ("x-amzn-requestid", "x-amz-request-id"):
        assert classify(status=500, headers={name: "r-1"}, body=b"").request_id == "r-1"


def test_a_quoted_sentence_holds_no_e_mail_no_resource_and_no_token() -> None:
    token = "aoaAAAAA" + "x9" * 60
    text = f"User jo@example.com (arn:aws:iam::123456789012:user/jo) with {token}\n is not entitled."
    message = refused(403, "AccessDeniedException", message=text).message
    assert message.endswith("It said: User … (…) with … is not entitled.")
    assert len(refused(400, message="word " * 1000).message) < 400


def test_failures_that_differ_are_told_in_different_sentences_with_a_next_step() -> None:
    failures = [refused(400, reason=reason) for reasons in REASONS.values() for reason in reasons]
    failures += [refused(status, kind, message=text) for _, status, kind, text in BY_WORDS]
    told: dict[str, set[str]] = {}
    for failure in failures:
        assert failure.code in CATALOGUE
        assert failure.next_step
        told.setdefault(failure.message, set()).add(failure.code)
    assert all(len(codes) == 1 for codes in told.values())


def test_a_bad_body_an_overflow_and_a_full_model_never_count_against_the_account() -> None:
    for code in (
        "KA-BODY",
        "KA-IMAGE",
        "KA-OVERFLOW",
        "KA-CONVERSATION",
        "KA-SIGNATURE",
        "KA-MODEL",
        "KA-CAPACITY",
    ):
        for reason in REASONS[code]:
            assert refused(400, reason=reason).cause is not Cause.ACCOUNT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["message", "Message", "reason", "__type", "code", "error", "retryAfterMilliseconds"]
)
BODIES = st.dictionaries(FIELDS, JSON, max_size=4).map(lambda body: json.dumps(body).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["x-amzn-errortype", "retry-after", "date", "x-amzn-requestid"]), st.text(max_size=30)
)


@given(st.none() | st.integers(100, 999), HEADERS, BODIES | st.binary(max_size=60))
def test_any_answer_is_one_failure_of_the_catalogue(
    status: int | None, headers: dict[str, str], body: bytes
) -> None:
    for failure in (classify(status=status, headers=headers, body=body), classify_exception("x", body)):
        assert failure.code in CATALOGUE
        assert failure.message


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b'{"reason":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"reason":"\\ud800"}', id="half a character"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_body_that_cannot_be_read_leaves_the_status_to_tell(body: bytes) -> None:
    assert classify(status=429, headers={}, body=body).code == "KA-THROTTLE"
    assert classify_exception("ThrottlingException", body).code == "KA-THROTTLE"


WINDOWS = {
    "hour": ("hourly", "60-minute", "sixty minutes", "this hour", "per hour"),
    "day": ("daily", "24-hour", "per day", "today", "tomorrow"),
    "week": ("weekly", "this week", "per week"),
    "month": ("monthly", "this month", "per month"),
}


@given(
    st.sampled_from([(period, word) for period, words in WINDOWS.items() for word in words]),
    st.sampled_from(["limit", "Maximum", "quota", "allowance"]),
    st.sampled_from(
        ["You reached the {limit} ({word}).", "{word}: credit {limit} exceeded", "{limit} {word}"]
    ),
    st.sampled_from([400, 429]),
)
def test_a_limit_told_only_in_words_is_a_quota_of_its_time_whose_words_are_shown(
    window: tuple[str, str], limit: str, sentence: str, status: int
) -> None:
    text = sentence.format(limit=limit, word=window[1])
    failure = refused(status, "ThrottlingException", message=text, reason=None)

    assert (failure.code, failure.period) == ("KA-QUOTA", window[0])
    assert failure.message.endswith(f"is used up. It said: {text.removesuffix('.')}.")


@pytest.mark.parametrize("window", [word for words in WINDOWS.values() for word in words])
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("ValidationException", 400, "KA-BODY"),
        ("InternalServerException", 500, "KA-SERVICE"),
        ("AccessDeniedException", 403, "KA-ENTITLEMENT"),
    ],
)
def test_a_refusal_that_quotes_a_request_about_limits_is_no_limit(
    kind: str, status: int, code: str, window: str
) -> None:
    text = f"Value 'write a page on the quota {window}' at 'content' failed to satisfy constraint"

    assert refused(status, kind, message=text).code == code


@pytest.mark.parametrize("words", ["invalid ", "images ", "limit ", "maximum today ", "a ", "\n", "."])
@pytest.mark.parametrize("kind", ["ValidationException", "ThrottlingException", ""])
def test_a_long_sentence_is_read_in_no_time(words: str, kind: str) -> None:
    begun = time.process_time()
    refused(400, kind, message=words * (200_000 // len(words)))

    assert time.process_time() - begun < 1


@given(st.sampled_from(["Rate exceeded", "Come back when the kettle boils", "Too fast by half"]))
def test_a_throttle_that_nobody_knows_quotes_kiro(text: str) -> None:
    failure = refused(429, "ThrottlingException", message=text)

    assert (failure.code, failure.period) == ("KA-THROTTLE", None)
    assert f"It said: {text}" in failure.message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Temporarily suspended. See https://support.aws.amazon.com/#/contacts/kiro.",
         "https://support.aws.amazon.com/#/contacts/kiro"),
        ("Temporarily suspended; form (https://form.kiro.dev/review?x=1)", "https://form.kiro.dev/review?x=1"),
        ("Temporarily suspended. See https://amazon.com.example.net/phish", "https://app.kiro.dev"),
        ("Temporarily suspended. See https://notkiro.dev/x", "https://app.kiro.dev"),
        ("Temporarily suspended. See http://kiro.dev/x", "https://app.kiro.dev"),
        ("Temporarily suspended.", "https://app.kiro.dev"),
    ],
)  # fmt: skip
def test_a_lock_passes_on_the_address_that_kiro_names_and_nobody_elses(text: str, address: str) -> None:
    step = refused(403, "AccessDeniedException", message=text, reason="TEMPORARILY_SUSPENDED").next_step

    assert step is not None
    assert step.startswith(f"Ask AWS for a review at {address}; ")
