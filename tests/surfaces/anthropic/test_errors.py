"""Failures in the Anthropic shape, with statuses and words that clients treat rightly."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import CATALOGUE, Cause, Failure, TurnFailed
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.anthropic.errors import STATUSES
from kiro_auth.surfaces.surface import HttpError
from kiro_auth.surfaces.waiting import LONGEST_RETRY

# What OpenCode 1.18.34 looks for in the whole body, written down apart from the code under test.
OPENCODE_REPEATS = re.compile(
    r"429|50[0234]|524|rate.?limit|too many requests|overloaded|service unavailable|internal error"
    r"|server error|provider returned error|terminated|fetch failed|network error"
    r"|connection (error|refused|lost)|socket hang up|econnreset|etimedout"
    r"|(request|response|connection|network|stream|read) timed out|retry your request"
    r"|resource.exhausted|try again (later|in)|(currently|temporarily) at capacity",
    re.IGNORECASE,
)
CODES = [pytest.param(code, id=code) for code in CATALOGUE]


def failed(code: str, **more: Any) -> Failure:
    return Failure(code=code, message=CATALOGUE[code].title, next_step=CATALOGUE[code].remedy, **more)


def error_of(answer: HttpError) -> dict[str, Any]:
    body = json.loads(answer.body)
    assert body["type"] == "error"
    return body["error"]


def test_every_code_has_a_row() -> None:
    assert STATUSES.keys() == CATALOGUE.keys()


ROWS = [
    ("KA-REQUEST", 400, "invalid_request_error"),
    ("KA-OVERFLOW", 400, "invalid_request_error"),
    ("KA-KEY", 401, "authentication_error"),
    ("KA-ORIGIN", 403, "permission_error"),
    ("KA-SIZE", 413, "request_too_large"),
    ("KA-QUOTA", 402, "billing_error"),
    ("KA-OVERAGE", 402, "billing_error"),
    ("KA-SIGNIN", 424, "permission_error"),
    ("KA-SUSPENDED", 402, "permission_error"),
    ("KA-NO-ACCOUNT", 424, "permission_error"),
    ("KA-ACCOUNTS-BUSY", 424, "permission_error"),
    ("KA-MODEL", 404, "not_found_error"),
    ("KA-THROTTLE", 429, "rate_limit_error"),
    ("KA-CAPACITY", 424, "invalid_request_error"),
    ("KA-NETWORK", 424, "invalid_request_error"),
    ("KA-INTERNAL", 424, "invalid_request_error"),
]


@pytest.mark.parametrize(("code", "status", "kind"), ROWS, ids=[row[0] for row in ROWS])
def test_status_and_type(code: str, status: int, kind: str) -> None:
    answer = anthropic.encode_failure(failed(code))

    assert (answer.status, error_of(answer)["type"]) == (status, kind)


OTHERS_FAULT = [code for code, row in CATALOGUE.items() if row.cause not in (Cause.REQUEST, Cause.SETUP)]


@given(st.sampled_from(OTHERS_FAULT), st.text(max_size=40), st.none() | st.floats(0, 1e6))
def test_what_is_no_matter_of_the_request_or_the_key_is_shown_by_claude_code_as_it_is(
    code: str, words: str, wait: float | None
) -> None:
    """It words 401, 403 and 404 as a key, a sign-in or a model, and repeats 400, 409, 422 and 5xx."""
    answer = anthropic.encode_failure(Failure(code=code, message=words, next_step="", retry_after=wait))

    assert answer.status in (402, 424, 429)


@pytest.mark.parametrize("code", CODES)
def test_only_a_throttle_is_handed_on_as_passing(code: str) -> None:
    """The gateway has tried again already; a client that repeats on top makes people wait for minutes."""
    answer = anthropic.encode_failure(failed(code))

    assert answer.status in (
        (429,) if code == "KA-THROTTLE" else (400, 401, 402, 403, 404, 413, 415, 424, 431)
    )
    assert (answer.status == 403) == (code == "KA-ORIGIN"), "Claude Code words it as a failed sign-in"
    assert ("retry-after" in answer.headers) == (answer.status == 429)
    assert answer.headers["x-should-retry"] == ("true" if answer.status == 429 else "false")


@given(
    st.sampled_from(sorted(CATALOGUE)),
    st.sampled_from(["500 of 500 credits", "rate limit", "Try again later", "overloaded_error", "é", ""]),
    st.none() | st.floats(0, 1e6),
    st.none() | st.integers(0, 2**33),
)
def test_no_final_answer_holds_a_word_that_makes_opencode_repeat(
    code: str, words: str, wait: float | None, until: int | None
) -> None:
    failure = Failure(code=code, message=words, next_step=words, retry_after=wait, until=until)

    answer = anthropic.encode_failure(failure)

    assert answer.status == 429 or not OPENCODE_REPEATS.search(answer.body.decode())


@pytest.mark.parametrize("code", CODES)
def test_the_next_step_is_said(code: str) -> None:
    answer = anthropic.encode_failure(Failure(code=code, message="No.", next_step="Run: kiro-auth login"))

    assert error_of(answer)["message"].endswith(f"No ({code}). Run: kiro-auth login")


@pytest.mark.parametrize("code", CODES)
def test_what_was_mended_and_sent_again_in_vain_is_no_fault_of_the_request(code: str) -> None:
    """Claude Code takes 400 for a field to leave out, and 404 for a wrong name of the model."""
    answer = anthropic.encode_failure(failed(code, replay=0.0))

    assert answer.status == (429 if code == "KA-THROTTLE" else 424)


WAITS = [
    pytest.param(None, "5", id="unknown"),
    pytest.param(0, "1", id="none"),
    pytest.param(0.2, "1", id="short"),
    pytest.param(7.1, "8", id="rounded up"),
    pytest.param(LONGEST_RETRY, "60", id="longest"),
]


@pytest.mark.parametrize(("wait", "header"), WAITS)
def test_a_throttle_says_how_long_to_wait(wait: float | None, header: str) -> None:
    answer = anthropic.encode_failure(failed("KA-THROTTLE", retry_after=wait))

    assert (answer.status, answer.headers["retry-after"]) == (429, header)


@pytest.mark.parametrize(("wait", "status"), [(7.1, 429), (LONGEST_RETRY + 1.0, 424), (None, 424)])
def test_with_all_accounts_out_the_client_waits_only_if_one_is_back_soon(
    wait: float | None, status: int
) -> None:
    answer = anthropic.encode_failure(failed("KA-ACCOUNTS-BUSY", retry_after=wait))

    assert answer.status == status
    assert answer.headers.get("retry-after") == ("8" if status == 429 else None)


def test_a_long_throttle_stops_and_names_the_time() -> None:
    """OpenCode sleeps as long as it is told, without a bound."""
    timed = anthropic.encode_failure(failed("KA-THROTTLE", retry_after=3600, until=1_800_000_000))
    untimed = anthropic.encode_failure(failed("KA-THROTTLE", retry_after=3600))

    assert (timed.status, timed.headers) == (424, {"x-should-retry": "false"})
    assert "Available again 2027-01-15 08:00 UTC." in error_of(timed)["message"]
    assert "Kiro asks to wait 60 minutes." in error_of(untimed)["message"]


def test_an_overflow_has_the_words_by_which_clients_know_to_compact() -> None:
    """OpenCode and Claude Code look for the first, litellm for the second, in lower case."""
    message = error_of(anthropic.encode_failure(failed("KA-OVERFLOW")))["message"]

    assert message.startswith("prompt is too long: ")
    assert "this model's maximum context length is" in message.lower()


def test_the_request_id_stands_in_a_header_only() -> None:
    """Its digits would make OpenCode repeat."""
    answer = anthropic.encode_failure(failed("KA-SERVICE", request_id="a500"))

    assert answer.headers["x-amzn-requestid"] == "a500"
    assert b"a500" not in answer.body


def test_a_refused_thread_is_told_in_the_words_that_sdks_know() -> None:
    body = b'{"model": "x", "messages": [], "thread": {"type": "create"}}'
    with pytest.raises(TurnFailed) as refused:
        anthropic.decode(body, {})

    answer = anthropic.encode_failure(refused.value.failure)

    assert answer.status == 400
    assert error_of(answer)["details"] == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }
