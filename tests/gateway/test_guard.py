"""Who may come in."""

from __future__ import annotations

import pytest

from kiro_auth.gateway.guard import Guard

GUARD = Guard(key="right-key")
HOST = {"Host": "127.0.0.1:4000"}
KEY = {"x-api-key": "right-key"}


@pytest.mark.parametrize(
    "headers",
    [
        {**HOST, **KEY},
        {**HOST, "Authorization": "Bearer right-key"},
        {**HOST, "authorization".title(): "bearer right-key"},
        {"Host": "localhost", **KEY},
        {"Host": "[::1]:80", **KEY},
        {**HOST, **KEY, "Origin": "http://127.0.0.1:4000"},
        {**HOST, **KEY, "Authorization": "Bearer of-another-service"},
        {**HOST, "x-api-key": "of-another-service", "Authorization": "Bearer right-key"},
    ],
    ids=str,
)
def test_the_right_key_from_this_machine_comes_in(headers: dict[str, str]) -> None:
    assert GUARD.refusal(headers, key_needed=True) is None


@pytest.mark.parametrize(
    ("headers", "code", "word"),
    [
        (HOST, "KA-KEY", "missing"),
        ({**HOST, "x-api-key": "wrong"}, "KA-KEY", "wrong"),
        ({**HOST, "x-api-key": ""}, "KA-KEY", "missing"),
        ({**HOST, "Authorization": "Basic right-key"}, "KA-KEY", "missing"),
        ({**HOST, "Authorization": "Bearer rïght"}, "KA-KEY", "wrong"),
        (KEY, "KA-ORIGIN", "Host"),
        ({"Host": "evil.example", **KEY}, "KA-ORIGIN", "Host"),
        ({"Host": "127.0.0.1.evil.example:4000", **KEY}, "KA-ORIGIN", "Host"),
        ({"Host": "[::1", **KEY}, "KA-ORIGIN", "Host"),
        ({**HOST, **KEY, "Origin": "https://evil.example"}, "KA-ORIGIN", "web pages"),
        ({**HOST, **KEY, "Origin": "null"}, "KA-ORIGIN", "web pages"),
    ],
    ids=str,
)
def test_everything_else_is_refused_with_the_reason(headers: dict[str, str], code: str, word: str) -> None:
    refusal = GUARD.refusal(headers, key_needed=True)

    assert refusal is not None
    assert refusal.code == code
    assert word in refusal.message
    assert "right-key" not in refusal.sentence()


def test_where_no_key_is_needed_a_wrong_one_is_still_refused() -> None:
    """A program that found an old state file must learn that this is another gateway."""
    assert GUARD.refusal(HOST, key_needed=False) is None
    assert GUARD.refusal({**HOST, "x-api-key": "old"}, key_needed=False) is not None


def test_a_public_gateway_accepts_any_host_but_no_missing_key() -> None:
    public = Guard(key="right-key", public=True)

    assert public.refusal({"Host": "kiro.example.org", **KEY}, key_needed=True) is None
    assert public.refusal({"Host": "kiro.example.org"}, key_needed=True) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {**HOST, "x-api-key": "\udcff"},
        {**HOST, **KEY, "Origin": "http://["},
        {**HOST, **KEY, "Origin": "null"},
        {"Host": "[", **KEY},
    ],
    ids=str,
)
def test_malformed_headers_are_refused_and_nothing_breaks(headers: dict[str, str]) -> None:
    assert GUARD.refusal(headers, key_needed=True) is not None
