"""What OpenCode 2.x makes of our failures, on every API.

It could not be run; its rules are written down here from its source, apart from the code under test:
`packages/ai/src/provider-error.ts` (4933a71b) and `packages/core/src/session/runner/retry.ts` (092a1e7d).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import Conversation, Failed, Message, ReasoningDelta, Text
from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.surface import HttpError

OVERFLOW = re.compile(r"prompt is too long|context[_ ]length[_ ]exceeded", re.IGNORECASE)
FILTERED = re.compile(r"content[-_\s]?policy|content_filter|safety", re.IGNORECASE)
QUOTA = re.compile(r"insufficient[-_\s]?quota|quota[-_\s]?exceeded", re.IGNORECASE)
PACE = re.compile(r"rate increased too quickly|rate[-_\s]?limit|too[_\s]?many[_\s]?requests", re.IGNORECASE)
QUOTA_CODES = {"insufficient_quota", "usage_not_included", "billing_error"}
SERVER_CODES = {"api_error", "internal_error", "overloaded_error", "server_error", "slow_down"}
REPEATED = {"pace", "server", "unknown"}


def taken_for(text: str, codes: set[str], status: int | None) -> str:
    """What an error is taken for; `text` is the whole body, or in a stream the message."""
    if (status is None or 400 <= status < 500) and (
        "context_length_exceeded" in codes or OVERFLOW.search(text)
    ):
        return "overflow"
    if status == 413 or re.search(r"request_too_large|payload too large|request too large", text):
        return "too large"
    if FILTERED.search(text):
        return "filtered"
    if codes & QUOTA_CODES or (status == 429 and QUOTA.search(text)):
        return "quota"
    if status in (401, 403) or codes & {"authentication_error", "permission_error"}:
        return "denied"
    if any("rate_limit" in code for code in codes) or PACE.search(text):
        return "pace"
    if any(code in SERVER_CODES or "exhausted" in code or "unavailable" in code for code in codes):
        return "server"
    if status == 429:
        return "pace"
    if status in (408, 409) or (status or 0) >= 500:
        return "server"
    if codes & {"invalid_prompt", "invalid_request_error"} or status in (400, 404, 422):
        return "invalid"
    return "unknown"


def codes_of(error: dict[str, Any]) -> set[str]:
    return {error[name] for name in ("type", "code") if isinstance(error.get(name), str)}


def met(answer: HttpError) -> tuple[str, bool]:
    """What an answer is taken for, and whether the request is sent again."""
    kind = taken_for(answer.body.decode(), codes_of(json.loads(answer.body)["error"]), answer.status)
    header = answer.headers.get("x-should-retry")
    return kind, kind in REPEATED if header is None else header == "true"


NATURAL = {
    "KA-OVERFLOW": "overflow",
    "KA-SIZE": "too large",
    "KA-QUOTA": "quota",
    "KA-OVERAGE": "quota",
    "KA-THROTTLE": "pace",
}
"""What each code is to be taken for; the rest is denied or invalid: both stop, with the message."""
MISLEADING = (
    *("safety", "Safety-net", "content policy", "CONTENT_POLICY", "content_filter", "content filter"),
    *("insufficient_quota", "quota exceeded", "rate limit", "too many requests", "overloaded", "x"),
)
words = st.lists(st.sampled_from(MISLEADING), max_size=4).map(" ".join)


def failure(code: str, said: str = "", **more: Any) -> Failure:
    entry = CATALOGUE[code]
    return Failure(code=code, message=f"{entry.title} It said: {said}", next_step=entry.remedy, **more)


@given(st.sampled_from(sorted(CATALOGUE)), words, st.none() | st.floats(0, 1e6))
def test_every_failure_is_taken_for_what_it_is_and_repeated_only_if_it_may(
    code: str, said: str, wait: float | None
) -> None:
    for surface in SURFACES.values():
        answer = surface.encode_failure(failure(code, said, retry_after=wait))
        kind, again = met(answer)

        passing = answer.status == 429
        assert again == passing == ("retry-after" in answer.headers)
        if passing or (code in NATURAL and code != "KA-THROTTLE"):
            assert kind == ("pace" if passing else NATURAL[code])
        else:
            assert kind in ("denied", "invalid")


@given(st.sampled_from(sorted(CATALOGUE)), words)
def test_even_without_the_header_nothing_final_is_repeated(code: str, said: str) -> None:
    """A proxy between may drop it."""
    for surface in SURFACES.values():
        answer = surface.encode_failure(failure(code, said, retry_after=1e6))

        assert met(HttpError(answer.status, {}, answer.body))[1] is False


USAGE = Usage(input=Figure(5, "estimated"), output=Figure(1, "estimated"))
TALK = Conversation(model="m", messages=(Message("user", (Text("Hi"),)),), stream=True)


def ending(path: str, ended: Failure) -> tuple[dict[str, Any], str]:
    """The error in which a stream ends, and its text."""
    encoder = SURFACES[path].stream_encoder(TALK, reply_id="ab", created=7, input_tokens=9)
    wire = encoder.encode([ReasoningDelta("Hm."), Failed(ended, USAGE)]).decode()
    event = json.loads(wire.rstrip().rpartition("data: ")[2])
    error = event["response"]["error"] if path == "/v1/responses" else event["error"]
    return error, error["message"]


@given(st.sampled_from(sorted(CATALOGUE)), words)
def test_a_stream_ends_in_a_type_that_is_repeated_only_if_it_may_pass(code: str, said: str) -> None:
    """It repeats nothing once words were said; before them it goes by the type."""
    for path in SURFACES:
        error, text = ending(path, failure(code, said))

        kind = taken_for(text, codes_of(error), None)
        assert (kind in REPEATED) == CATALOGUE[code].passing
        assert kind != "filtered"
        assert (kind == "overflow") == (code == "KA-OVERFLOW")


@pytest.mark.parametrize("path", SURFACES)
def test_no_stream_ends_in_words_or_types_for_which_opencode_1_says_it_all_again(path: str) -> None:
    """Release 1.18.34 looks for them in the whole error."""
    error, _ = ending(path, failure("KA-THROTTLE", "Rate limit, 429.", retry_after=7))

    assert not re.search(r"rate.?limit|too many|overloaded|429", json.dumps(error), re.IGNORECASE)


@pytest.mark.parametrize("path", SURFACES)
def test_an_overflow_is_400_with_the_words_and_the_code_by_which_clients_compact(path: str) -> None:
    answer = SURFACES[path].encode_failure(failure("KA-OVERFLOW"))
    error = json.loads(answer.body)["error"]

    assert (answer.status, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith("prompt is too long: ")
    assert error.get("code") == (None if path == "/v1/messages" else "context_length_exceeded")
