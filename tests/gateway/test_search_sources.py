"""Where an answer of several calls names a found page: each API tells the right place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Finished,
    Message,
    ReasoningDelta,
    ReasoningSigned,
    ReplyEvent,
    SearchEnded,
    Text,
    TextDelta,
    WebPage,
    WebSearch,
)
from kiro_auth.gateway.searches import Searches
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.openai import chat, responses

USAGE = Usage(Figure(100, "measured"), Figure(10, "estimated"))
PAGE = WebPage("https://a.example/x", "A", "Of A.")
SEARCH = WebSearch(name="web_search")
ASKED = Conversation(
    model="m", messages=(Message("user", (Text("Rain?"),)),), web_search=SEARCH, usage_in_stream=True
)

pieces = st.sampled_from(
    ["Wet.", "é", " ", "[A](https://a.example/x)", f" {PAGE.url} ", "https://a.ex", "\n"]
)
replies = st.lists(
    st.one_of(
        pieces.map(TextDelta),
        pieces.map(TextDelta),
        st.builds(Citation, st.just("https://b.example/"), st.just("B")),
        st.builds(ReasoningDelta, st.just("Hm.")),
        st.builds(ReasoningSigned, st.just("s")),
        st.builds(CallReady, st.just("o"), st.just("read"), st.just("{}")),
    ),
    max_size=8,
)


def all_of(first: list[ReplyEvent], second: list[ReplyEvent]) -> list[ReplyEvent]:
    """What the client gets of two replies, with a search that the first asks for somewhere."""
    searches = Searches(ASKED, SEARCH)
    asks = CallReady("t1", "web_search", '{"query": "rain"}')
    cut = len(first) // 2
    given_out = searches.passed([*first[:cut], asks, *first[cut:], Finished("end", USAGE)])
    run, _ = searches.allowed()
    goes_on = searches.ended([SearchEnded(each.id, each.query, (PAGE,)) for each in run]) is not None
    return given_out + searches.passed([*second, Finished("end", USAGE)] if goes_on else [])


def texts_and_sources(api: Any, events: list[ReplyEvent]) -> list[tuple[str, list[dict[str, Any]]]]:
    writer = api.whole_encoder(ASKED, reply_id="ab", created=7, input_tokens=1)
    reply = json.loads(writer.encode(events))
    if "choices" in reply:
        message = reply["choices"][0]["message"]
        sources = [source["url_citation"] for source in message.get("annotations", ())]
        return [(message["content"] or "", sources)]
    parts = [part for item in reply["output"] if item["type"] == "message" for part in item["content"]]
    return [(part["text"], part["annotations"]) for part in parts]


@pytest.mark.parametrize("api", [chat, responses])
@given(replies, replies)
def test_a_source_stands_where_the_answer_names_it_whatever_is_said_between(
    api: Any, first: list[ReplyEvent], second: list[ReplyEvent]
) -> None:
    events = all_of(first, second)
    written = texts_and_sources(api, events)

    found = [(text, source) for text, sources in written for source in sources if source["url"] == PAGE.url]
    assert len(found) == sum(isinstance(event, Citation) and event.url == PAGE.url for event in events)
    for text, source in found:
        place = text[source["start_index"] : source["end_index"]]
        assert place in (PAGE.url, f"[A]({PAGE.url})")
