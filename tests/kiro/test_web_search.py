"""What the service's search of the web says, and what it cannot mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import WebPage
from kiro_auth.failures import CATALOGUE, Failure
from kiro_auth.kiro.web_search import call_request, fault_of, found_in, list_request, tool_in

ROW = {
    "title": "Tides",
    "url": "https://tides.example/today",
    "snippet": "High at noon.",
    "publishedDate": 1_793_923_200_000,
    "maxVerbatimWordLimit": 30,
}


def answer(*rows: Any, **more: Any) -> dict[str, Any]:
    text = json.dumps({"results": list(rows), "totalResults": len(rows), "error": None, **more})
    return {"jsonrpc": "2.0", "id": "1", "result": {"isError": False, "content": [{"text": text}]}}


def test_requests_are_json_rpc_with_the_tool_that_was_listed() -> None:
    assert list_request("a") == {"id": "a", "jsonrpc": "2.0", "method": "tools/list", "params": {}}
    asked = call_request("b", "web_search", "tides")
    assert (asked["method"], asked["params"]) == (
        "tools/call",
        {"name": "web_search", "arguments": {"query": "tides"}},
    )


@pytest.mark.parametrize(
    ("tools", "name"),
    [
        ([{"name": "web_search"}, {"name": "fetch"}], "web_search"),
        ([{"name": "fetch"}, {"name": "WebSearchV2"}], "WebSearchV2"),
        ([{"name": "remote_web_search"}, {"name": "web_search"}], "web_search"),
        ([{"name": "fetch"}], None),
        ([], None),
        ([5, None, {"name": 5}, {}], None),
        (None, None),
    ],
)
def test_the_search_is_found_among_the_tools_by_its_name(tools: Any, name: str | None) -> None:
    assert tool_in({"result": {"tools": tools}}) == name


@pytest.mark.parametrize(
    ("date", "age"),
    [
        (1_793_923_200_000, "2026-11-06"),
        (1_793_923_200, "2026-11-06"),
        ("last week", "last week"),
        ("", None),
        (None, None),
        (True, None),
        (1e300, None),
        ([], None),
    ],
)
def test_a_page_has_its_date_in_words(date: Any, age: str | None) -> None:
    [page] = found_in(answer({**ROW, "publishedDate": date}))

    assert page == WebPage("https://tides.example/today", "Tides", "High at noon.", age)


def test_rows_without_an_address_are_no_pages() -> None:
    rows = [{"title": "No address"}, {"url": ""}, 5, {"url": "https://a.example"}]

    assert found_in(answer(*rows)) == (WebPage("https://a.example", "https://a.example"),)
    assert found_in(answer()) == ()


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"error": {"code": -32602, "message": "query is required"}}, "invalid_tool_input"),
        ({"error": {"code": -32602, "message": "query is too long"}}, "query_too_long"),
        ({"error": {"code": -32603, "message": "Internal error"}}, "unavailable"),
        ({"error": {"code": "x"}}, "unavailable"),
        ({"result": {"isError": True, "content": [{"text": "query exceeds 200"}]}}, "query_too_long"),
        ({"result": {"isError": True}}, "unavailable"),
        ({"result": {"content": [{"text": "no JSON"}]}}, "unavailable"),
        ({"result": None}, "unavailable"),
        ({}, "unavailable"),
        (answer(error="Search failed."), "unavailable"),
    ],
)
def test_a_search_that_gave_nothing_says_why(said: Any, fault: str) -> None:
    assert found_in(said) == fault


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_failure_of_the_call_is_a_fault_of_the_search(code: str) -> None:
    fault = fault_of(Failure(code=code, message="x"))

    assert fault == {
        "KA-THROTTLE": "too_many_requests",
        "KA-BODY": "invalid_tool_input",
        "KA-REQUEST": "invalid_tool_input",
    }.get(code, "unavailable")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["result", "error", "content", "text", "results", "url", "tools", "name", "code"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["result", "error", "id"]), json_values), json_values)
def test_any_answer_is_pages_or_a_fault(given_answer: dict[str, Any], inner: Any) -> None:
    within = {"result": {"content": [{"text": json.dumps(inner)}]}}
    for said in (given_answer, within):
        found = found_in(said)
        assert isinstance(found, str) or all(page.url for page in found)
        tool_in(said)
