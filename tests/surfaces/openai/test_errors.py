"""Failures in OpenAI's shape."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.surfaces.openai import chat, responses
from kiro_auth.surfaces.surface import HttpError
from kiro_auth.surfaces.waiting import LONGEST_RETRY
from kiro_auth.surfaces.wording import final_wording

APIS = pytest.mark.parametrize(
    "encode", [chat.encode_failure, responses.encode_failure], ids=["chat", "responses"]
)
Encode = Callable[[Failure], HttpError]


@APIS
@pytest.mark.parametrize("code", CATALOGUE)
def test_every_failure_has_a_status_a_type_and_its_whole_sentence(encode: Encode, code: str) -> None:
    error = encode(Failure(code=code, message="It went wrong.", next_step="Do this.", request_id="r"))
    told = json.loads(error.body)["error"]

    assert 400 <= error.status < 500
    assert told["message"].endswith(f"It went wrong ({code}). Do this.")
    assert told["type"]
    assert error.headers["x-amzn-requestid"] == "r"
    assert (error.status == 429) == ("retry-after" in error.headers)
    assert error.headers["x-should-retry"] == ("true" if error.status == 429 else "false")


ROWS = [
    ("KA-KEY", 401, "authentication_error"),
    ("KA-QUOTA", 402, "insufficient_quota"),
    ("KA-OVERAGE", 402, "insufficient_quota"),
    ("KA-ORIGIN", 403, "permission_error"),
    ("KA-SIZE", 413, "invalid_request_error"),
    ("KA-SUSPENDED", 402, "permission_error"),
    ("KA-SERVICE", 424, "invalid_request_error"),
    ("KA-TIMEOUT", 424, "invalid_request_error"),
    ("KA-MODEL", 404, "invalid_request_error"),
]


@pytest.mark.parametrize(("code", "status", "kind"), ROWS, ids=[row[0] for row in ROWS])
def test_status_and_type(code: str, status: int, kind: str) -> None:
    error = chat.encode_failure(Failure(code=code, message="No."))

    assert (error.status, json.loads(error.body)["error"]["type"]) == (status, kind)


@pytest.mark.parametrize("replay", [None, 1.0])
@pytest.mark.parametrize("code", CATALOGUE)
def test_codex_sends_nothing_again_that_is_final(code: str, replay: float | None) -> None:
    """It sends five times more after any status but 400 and 429."""
    of_http = {"KA-KEY": 401, "KA-ORIGIN": 403, "KA-SIZE": 413, "KA-ENCODING": 415, "KA-THROTTLE": 429}
    of_http |= {"KA-KEY-EXPIRED": 401, "KA-KEY-REVOKED": 401, "KA-KEY-BUDGET": 402}
    of_http |= {"KA-HEADERS": 431, "KA-BUDGET": 402}  # other programs rely on 402; a repeat costs no credits
    replayed = None if code in of_http else replay
    error = responses.encode_failure(Failure(code=code, message="No.", replay=replayed))

    assert error.status == of_http.get(code, 400)


def test_an_overflow_has_the_code_by_which_clients_compact() -> None:
    error = chat.encode_failure(Failure(code="KA-OVERFLOW", message="Too long."))

    assert (error.status, json.loads(error.body)["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("wait", "status", "header"),
    [(None, 429, "5"), (0.2, 429, "1"), (7.1, 429, "8"), (LONGEST_RETRY + 1.0, 424, None)],
)
def test_a_throttle_always_says_how_long_and_a_long_one_is_final(
    wait: float | None, status: int, header: str | None
) -> None:
    error = chat.encode_failure(Failure(code="KA-THROTTLE", message="Slow down.", retry_after=wait))

    assert (error.status, error.headers.get("retry-after")) == (status, header)


@pytest.mark.parametrize("code", ["KA-THROTTLE", "KA-ACCOUNTS-BUSY"])
@pytest.mark.parametrize(
    ("wait", "status", "header"), [(0.2, 429, "1"), (7.1, 429, "8"), (LONGEST_RETRY + 1.0, 424, None)]
)
def test_a_wait_is_passed_on_whoever_has_to_wait(
    code: str, wait: float, status: int, header: str | None
) -> None:
    error = chat.encode_failure(Failure(code=code, message="Slow down.", retry_after=wait))

    assert (error.status, error.headers.get("retry-after")) == (status, header)


def test_final_failures_hold_no_word_that_opencode_repeats_for() -> None:
    error = chat.encode_failure(Failure(code="KA-SERVICE", message="An internal error with 503 came."))
    message = json.loads(error.body)["error"]["message"]

    assert message == final_wording(message)
