"""The searches of one answer, by values alone: what the client gets, what the service is asked next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Failed,
    Finished,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    RedactedReasoning,
    ReplyEvent,
    SearchBegun,
    SearchEnded,
    Text,
    TextDelta,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebPage,
    WebSearch,
)
from kiro_auth.failures import Failure
from kiro_auth.gateway.searches import Searches, searches_of
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.tools.web_search import result_text

USAGE = Usage(Figure(100, "measured"), Figure(10, "estimated"), credits=0.5)
CALLED = Finished("tool_calls", USAGE)
END = Finished("end", USAGE)
PAGE = WebPage("https://a.example/x", "A", "Of A.")
BROKEN = Failure(code="KA-NETWORK", message="No line.")


def talk(*words: str, **search: Any) -> Conversation:
    turns = tuple(Message("user", (Text(text),)) for text in words or ("Rain?",))
    return Conversation(model="m", messages=turns, web_search=WebSearch(name="web_search", **search))


def of(conversation: Conversation) -> Searches:
    searches = searches_of(conversation)
    assert searches is not None
    return searches


def asks(query: str = "rain", id_: str = "t1") -> CallReady:
    return CallReady(id_, "web_search", json.dumps({"query": query}))


def run(searches: Searches, *pages: WebPage) -> Conversation | None:
    """As the gateway does it, with these pages for every search."""
    now, refused = searches.allowed()
    return searches.ended([*(SearchEnded(each.id, each.query, pages) for each in now), *refused])


def test_an_answer_without_a_search_has_none_of_this() -> None:
    assert searches_of(Conversation(model="m", messages=())) is None


def test_a_reply_that_asks_for_nothing_passes_as_it_is() -> None:
    events: list[ReplyEvent] = [ReasoningDelta("Hm."), ReasoningSigned("s"), TextDelta("Hi"), END]

    assert of(talk()).passed(events) == events


def test_between_two_replies_stand_the_search_and_what_it_found() -> None:
    searches = of(talk())
    first: list[ReplyEvent] = [
        ReasoningDelta("Let me "),
        ReasoningDelta("look."),
        ReasoningSigned("sig"),
        ReasoningRedacted("cmVk"),
        TextDelta("One "),
        TextDelta("moment."),
        asks(),
        CALLED,
    ]

    assert searches.passed(first) == [*first[:-2], SearchBegun("t1", "rain")]
    conversation = run(searches, PAGE)

    assert conversation is not None
    assert conversation.messages == (
        Message("user", (Text("Rain?"),)),
        Message(
            "assistant",
            (
                Reasoning("Let me look.", "sig"),
                RedactedReasoning("cmVk"),
                Text("One moment."),
                ToolCall("t1", "web_search", {"query": "rain"}),
            ),
        ),
        Message("user", (ToolResult("t1", (Text(result_text(SearchEnded("t1", "rain", (PAGE,)))),)),)),
    )
    last = searches.passed([TextDelta("Wet."), END])
    assert last == [
        SearchEnded("t1", "rain", (PAGE,)),
        TextDelta("Wet."),
        Finished("end", Usage(Figure(200, "measured"), Figure(20, "estimated"), credits=1.0, searches=1)),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("See https://a.example/x.", (4, 23)),
        ("See [the page](https://a.example/x) and https://a.example/x", (4, 35)),
        ("Not https://a.example/xyz but https://a.example/x", (30, 49)),
        ("Only https://a.example/xyz", None),
        ("None at all", None),
    ],
)
def test_a_page_that_the_answer_names_is_cited_where_it_stands(
    text: str, place: tuple[int, int] | None
) -> None:
    searches = of(talk())
    searches.passed([asks(), CALLED])
    run(searches, PAGE)
    events = searches.passed([TextDelta(text[:7]), TextDelta(text[7:]), END])

    cited = [event for event in events if isinstance(event, Citation)]
    assert cited == ([] if place is None else [Citation(PAGE.url, "A", *place, quote="Of A.")])
    if cited:
        assert isinstance(events[-2], Citation), "before the text is closed"


def test_the_client_s_own_tools_end_the_answer_once_the_searches_are_done() -> None:
    searches = of(talk())
    own = CallReady("t2", "read", "{}")

    assert searches.passed([asks(), own, CALLED]) == [SearchBegun("t1", "rain"), own]
    assert run(searches, PAGE) is None
    ended, finished = searches.passed([])
    assert isinstance(ended, SearchEnded)
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.input.value) == ("tool_calls", 100)


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_no_more_searches_are_run_than_the_client_allows_and_the_answer_ends(allowed: int) -> None:
    searches = of(talk(max_uses=allowed))
    ran = faults = calls = 0
    conversation: Conversation | None = talk()
    while conversation is not None:
        searches.passed([asks(id_=f"a{calls}"), asks(id_=f"b{calls}"), CALLED])
        calls += 1
        assert calls < 20
        now, refused = searches.allowed()
        ran, faults = ran + len(now), faults + len(refused)
        assert {each.fault for each in refused} <= {"max_uses_exceeded"}
        conversation = searches.ended([*(SearchEnded(each.id, each.query) for each in now), *refused])

    assert ran == allowed
    assert faults >= 2, "the model was told"
    assert isinstance(searches.passed([])[-1], Finished)


def test_a_client_that_sets_no_bound_or_a_wild_one_gets_a_sane_one() -> None:
    for bound in (None, 10_000):
        searches = of(talk(max_uses=bound))
        searches.passed([*(asks(id_=f"t{number}") for number in range(50)), CALLED])
        now, refused = searches.allowed()

        assert 5 <= len(now) <= 20
        assert len(now) + len(refused) == 50


@pytest.mark.parametrize(
    "arguments", ["{}", '{"query": 5}', '{"query": ""}', '{"q": "rain"}', '{"query": " "}']
)
def test_a_call_without_a_query_is_a_search_for_what_words_it_has(arguments: str) -> None:
    [begun] = of(talk()).passed([CallReady("t1", "web_search", arguments), CALLED])

    assert isinstance(begun, SearchBegun)
    assert begun.query.strip() == ("rain" if "rain" in arguments else "")


@pytest.mark.parametrize("limit", [15, 25, 1000])
def test_all_replies_of_an_answer_together_keep_to_the_client_s_limit(limit: int) -> None:
    searches = of(replace(talk(), max_output=limit))
    rooms = []
    while True:
        rooms.append(searches.room)
        given_out = searches.passed([asks(), CALLED])
        if isinstance(given_out[-1], Finished) or run(searches, PAGE) is None:
            break

    assert rooms[:3] == [limit, limit - 10, limit - 20][: len(rooms)]
    assert len(rooms) == min(10, -(-limit // 10)), "the searches have a bound of their own"
    assert [type(event) for event in [*given_out, *searches.passed([])][-2:]] == [SearchEnded, Finished]


def test_an_answer_that_is_thrown_away_leaves_the_client_s_limit_to_the_next() -> None:
    searches = of(replace(talk(forced=True), max_output=10))
    searches.passed([TextDelta("I guess."), Finished("length", USAGE)])

    assert run(searches, PAGE) is not None
    assert searches.room == 10


# ------------------------------------------------------------------------ what the client insists on


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ("Perform a web search for the query: rain in Graz", "rain in Graz"),
        ("Is it raining\nin Graz?", "Is it raining in Graz?"),
        ("rain " * 500, ("rain " * 500)[:400]),
    ],
)
def test_a_search_that_is_forced_is_made_whatever_the_model_says(words: str, query: str) -> None:
    searches = of(talk("Hello.", words, forced=True))
    invented: list[ReplyEvent] = [TextDelta("It rains, "), TextDelta("I think."), END]

    [begun] = searches.passed(invented)
    assert isinstance(begun, SearchBegun)
    assert begun.query == query
    conversation = run(searches, PAGE)
    assert conversation is not None
    call, result = (message.content[0] for message in conversation.messages[-2:])
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert (call.id, call.input) == (result.call_id, {"query": query})
    last = searches.passed([TextDelta("Wet."), END])[-1]
    assert isinstance(last, Finished)
    assert last.usage.input.value == 200, "what was thrown away was used all the same"


def test_words_before_a_forced_search_are_the_client_s_once_the_model_makes_it() -> None:
    searches = of(talk(forced=True))

    assert searches.passed([TextDelta("Let me see.")]) == []
    assert searches.passed([asks()]) == [TextDelta("Let me see."), SearchBegun("t1", "rain")]


def test_after_a_forced_search_nothing_is_insisted_on_any_more() -> None:
    choice = ToolChoice(names=("web_search",))
    searches = of(replace(talk(forced=True), tool_choice=choice))
    searches.passed([asks(), CALLED])
    conversation = run(searches)

    assert conversation is not None
    assert (conversation.tool_choice.mode, conversation.tool_choice.names) == ("auto", ("web_search",))
    assert searches.passed([TextDelta("Wet."), END])[1] == TextDelta("Wet.")


def test_a_forced_search_that_the_service_cannot_begin_is_a_failure_alone() -> None:
    searches = of(talk(forced=True))

    assert searches.passed([TextDelta("It "), Failed(BROKEN, USAGE)]) == [Failed(BROKEN, USAGE)]


# --------------------------------------------------------------------------------- what breaks off


def test_a_search_that_was_begun_is_ended_when_the_reply_breaks_off() -> None:
    events = of(talk()).passed([asks(), Failed(BROKEN, USAGE)])

    assert events[1] == SearchEnded("t1", "rain", fault="unavailable")
    assert isinstance(events[2], Failed)


@pytest.mark.parametrize("reason", ["content_filter", "stop_sequence"])
def test_a_reply_that_may_not_go_on_runs_no_search(reason: Any) -> None:
    events = of(talk()).passed([asks(), Finished(reason, USAGE)])

    assert events[1:] == [SearchEnded("t1", "rain", fault="unavailable"), Finished(reason, USAGE)]


@pytest.mark.parametrize("when", ["before the search ended", "before the next reply"])
def test_an_answer_that_breaks_off_between_two_replies_says_all_that_is_known(when: str) -> None:
    searches = of(talk())
    searches.passed([asks(), CALLED])
    if when == "before the next reply":
        run(searches, PAGE)
    ended, failed = searches.broke(BROKEN)

    assert isinstance(ended, SearchEnded)
    assert (ended.fault is None) == (when == "before the next reply")
    assert isinstance(failed, Failed)
    assert failed.usage.input.value == 100


# -------------------------------------------------------------------------------------------- laws

events = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(min_size=1, max_size=5)),
        st.builds(ReasoningDelta, st.text(min_size=1, max_size=5)),
        st.builds(ReasoningSigned, st.just("s")),
        st.builds(ReasoningRedacted, st.just("cmVk")),
        st.builds(asks, st.sampled_from(["rain", "", "https://a.example/x"]), st.sampled_from(["t1", "t2"])),
        st.builds(CallReady, st.sampled_from(["o1", "o2"]), st.just("read"), st.just("{}")),
    ),
    max_size=6,
)
endings = st.sampled_from([CALLED, END, Finished("length", USAGE), Finished("content_filter", USAGE)])
replies = st.lists(st.tuples(events, endings, st.integers(0, 6)), min_size=1, max_size=4)


@given(replies, st.booleans(), st.none() | st.integers(1, 3))
def test_every_answer_ends_once_and_every_search_too_however_the_events_are_grouped(
    said: list[tuple[list[ReplyEvent], Finished, int]], forced: bool, uses: int | None
) -> None:
    searches = of(talk(forced=forced, max_uses=uses))
    given_out: list[ReplyEvent] = []
    spent = 0
    for body, end, cut in said:
        given_out += searches.passed(body[:cut])
        given_out += searches.passed([*body[cut:], end])
        spent += end.usage.input.value
        if any(isinstance(event, Finished) for event in given_out):
            break
        if run(searches, PAGE) is None:
            given_out += searches.passed([])
            break
    else:
        given_out += searches.broke(BROKEN)

    ends = [event for event in given_out if isinstance(event, Finished | Failed)]
    assert ends == [given_out[-1]]
    assert ends[0].usage.input.value == spent
    begun = [event.id for event in given_out if isinstance(event, SearchBegun)]
    ended = [event.id for event in given_out if isinstance(event, SearchEnded)]
    assert begun == ended
    assert not [event for event in given_out if isinstance(event, CallReady) and event.name == "web_search"]
