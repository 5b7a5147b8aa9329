"""A client's limit of output tokens, in whatever form it comes, on every API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES

FIELDS = [
    ("/v1/messages", "max_tokens"),
    ("/v1/chat/completions", "max_tokens"),
    ("/v1/chat/completions", "max_completion_tokens"),
    ("/v1/responses", "max_output_tokens"),
]
EACH = pytest.mark.parametrize(("path", "field"), FIELDS)


def limit(path: str, **fields: Any) -> int | None:
    talk = {"input": "Hi"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "Hi"}]}
    body = json.dumps({"model": "m", **talk, **fields}).encode()
    return SURFACES[path].decode(body, {}).max_output


@EACH
@given(st.integers(-(10**9), 10**9), st.sampled_from([int, float, str]))
def test_a_number_is_the_limit_and_nothing_or_less_is_none(
    path: str, field: str, number: int, form: type[int | float | str]
) -> None:
    if form is float:
        number = number % 10**6
    given_limit = str(number) if form is str else form(number)

    assert limit(path, **{field: given_limit}) == (number if number > 0 else None)


@EACH
def test_no_limit_is_none(path: str, field: str) -> None:
    assert limit(path) is None
    assert limit(path, **{field: None}) is None


@EACH
@pytest.mark.parametrize("value", ["many", [], [4], {"a": 1}, True, "", "4.5k"])
def test_what_is_no_number_is_refused_by_the_name_of_the_field(path: str, field: str, value: Any) -> None:
    with pytest.raises(TurnFailed) as refusal:
        limit(path, **{field: value})

    assert f"`{field}`" in refusal.value.failure.message


@given(st.integers(1, 9999), st.integers(1, 9999))
def test_the_newer_name_of_chat_counts_over_the_older(older: int, newer: int) -> None:
    assert limit("/v1/chat/completions", max_tokens=older, max_completion_tokens=newer) == newer
