"""Searches of the web as blocks of the Messages API: written, and read back as what the model saw."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    Citation,
    Conversation,
    Finished,
    SearchBegun,
    SearchEnded,
    Text,
    TextDelta,
    ToolCall,
    ToolResult,
    WebPage,
)
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.anthropic import messages as anthropic
from kiro_auth.surfaces.tools.web_search import result_text
from support import sdks

USAGE = Usage(Figure(50, "measured"), Figure(5, "measured"), searches=2)
ASKED = Conversation(model="m", messages=())
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
pages = st.builds(WebPage, words.map("https://{}".format), words, st.text(max_size=12), st.none() | words)
ends = st.one_of(
    st.builds(SearchEnded, st.just("t_1"), words, st.lists(pages, max_size=3).map(tuple)),
    st.builds(
        SearchEnded, st.just("t_1"), words, fault=st.sampled_from(["unavailable", "max_uses_exceeded"])
    ),
)


def whole(*events: Any) -> dict[str, Any]:
    writer = anthropic.whole_encoder(ASKED, reply_id="ab", created=0, input_tokens=1)
    message: dict[str, Any] = json.loads(writer.encode([*events, Finished("end", USAGE)]))
    sdks.anthropic().types.Message.model_validate(message)
    return message


def sent_back(content: list[dict[str, Any]]) -> tuple[Any, ...]:
    turns = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": content}]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    return anthropic.decode(json.dumps(body).encode(), {}).messages[1].content


@pytest.mark.slow
@given(ends)
def test_a_search_sent_back_is_the_call_and_the_very_result_that_the_model_saw(ended: SearchEnded) -> None:
    content = whole(SearchBegun("t_1", ended.query), ended, TextDelta("Wet."))["content"]

    assert sent_back(content) == (
        ToolCall("t_1", "web_search", {"query": ended.query}),
        ToolResult("t_1", (Text(result_text(ended)),), is_error=ended.fault is not None),
        Text("Wet."),
    )


@pytest.mark.slow
def test_the_client_gets_the_blocks_of_the_api_and_the_number_of_searches() -> None:
    page = WebPage("https://a.example", "A", "Rain all day.", "2026-11-02")
    message = whole(
        SearchBegun("t_1", "rain"),
        SearchEnded("t_1", "rain", (page,)),
        TextDelta("Rain."),
        Citation("https://a.example", "A", quote="Rain all day." * 50),
    )
    call, result, text = message["content"]

    assert call["id"] == result["tool_use_id"]
    assert call["id"].startswith("srvtoolu_")
    assert (call["name"], call["input"]) == ("web_search", {"query": "rain"})
    [found] = result["content"]
    assert (found["url"], found["title"], found["page_age"]) == ("https://a.example", "A", "2026-11-02")
    [cited] = text["citations"]
    assert cited["cited_text"].startswith("Rain all day.")
    assert len(cited["cited_text"]) <= 150
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 2


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": "Eq0B"}], "A"),
        ([{"type": "web_search_result", "url": "https://a"}], "https://a"),
        ([{"url": "https://b", "encrypted_content": "kiro1.???"}], "https://b"),
        ([{"url": "https://c", "encrypted_content": "kiro1.bm8="}], "https://c"),
        ([5, None], "No pages"),
        ({"type": "web_search_tool_result_error", "error_code": "of_tomorrow"}, "Nothing was searched"),
        (None, "No pages"),
        ("words", "No pages"),
    ],
)
def test_a_search_that_was_made_elsewhere_is_read_as_far_as_it_says_anything(content: Any, text: str) -> None:
    block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": content}
    call = {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "q"}}
    read, result = sent_back([call, block])

    assert (read.id, result.call_id) == ("01", "01")
    assert text in result.content[0].text
