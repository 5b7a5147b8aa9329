"""The service's reply as reply events: what is said, how it ends, and what it used."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Failed,
    Finished,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    ReplyEvent,
    TextDelta,
)
from kiro_auth.failures import Failure
from kiro_auth.kiro.reply.answer_text import Expected
from kiro_auth.kiro.reply.eventstream import encode_frame
from kiro_auth.kiro.reply.reader import Reader
from kiro_auth.reply_usage import Figure

WINDOW = 200_000
ESTIMATE = 1234


def reader(
    *, tags: bool = False, fence: bool = False, prefill: str = "", stops: tuple[str, ...] = (), **options: Any
) -> Reader:
    return Reader(
        **{
            "tool_names": {},
            "context_window": WINDOW,
            "input_tokens": ESTIMATE,
            "request_id": "r-1",
            "expected": Expected(tags=tags, fence=fence, prefill=prefill, stops=stops),
            **options,
        }
    )


def event(kind: str, **payload: Any) -> bytes:
    return raw(kind, json.dumps(payload).encode())


def raw(kind: str, payload: bytes) -> bytes:
    return encode_frame({":message-type": "event", ":event-type": kind}, payload)


def text(content: str) -> bytes:
    return event("assistantResponseEvent", content=content)


def reasoning(**payload: str) -> bytes:
    return event("reasoningContentEvent", **payload)


def tool(call_id: str = "t1", **more: Any) -> bytes:
    return event("toolUseEvent", **{"toolUseId": call_id, "name": "read", **more})


def exception(name: str, **payload: Any) -> bytes:
    headers = {":message-type": "exception", ":exception-type": name}
    return encode_frame(headers, json.dumps(payload).encode())


def metadata(stop_reason: str | None = "END_TURN", **usage: Any) -> bytes:
    return event("metadataEvent", tokenUsage=usage or None, stopReason=stop_reason)


LINKS = [{"url": "https://a", "title": "A"}, {}, {"url": None}]
METERED = event("meteringEvent", usage=0.05, unit="credit", unitPlural="credits")


def read(chunks: Iterable[bytes], **options: Any) -> list[ReplyEvent]:
    """All events of a reply that ends cleanly after these reads."""
    source = reader(**options)
    events = [found for chunk in chunks for found in source.feed(chunk)]
    return events + source.close()


def merged(events: Sequence[ReplyEvent]) -> list[ReplyEvent]:
    """The same events with neighbouring deltas joined."""
    joined: list[ReplyEvent] = []
    for kind, group in itertools.groupby(events, type):
        if kind in (TextDelta, ReasoningDelta):
            joined.append(kind("".join(delta.text for delta in group)))
        else:
            joined += group
    return joined


def said(events: Sequence[ReplyEvent]) -> str:
    return "".join(found.text for found in events if isinstance(found, TextDelta))


def ending(events: Sequence[ReplyEvent]) -> str:
    """How the reply ended: the reason, or the failure's code."""
    last = events[-1]
    assert isinstance(last, Finished | Failed)
    assert not any(isinstance(found, Finished | Failed) for found in events[:-1])
    return last.reason if isinstance(last, Finished) else last.failure.code


# ------------------------------------------------------------------------------------------ what is said


def test_a_whole_reply_is_told_in_its_order() -> None:
    events = read(
        [
            event("initial-response")
            + event("messageMetadataEvent", conversationId="c")
            + reasoning(text="Let me ")
            + reasoning(text="see.")
            + reasoning(signature="sig")
            + text("I look. ")
            + tool()
            + tool(input='{"path":')
            + tool(input='"a"}')
            + tool(stop=True)
            + text("Done.")
            + event("brandNewEvent", x=1)
            + metadata("TOOL_USE", uncachedInputTokens=10, outputTokens=5)
            + event("contextUsageEvent", contextUsagePercentage=1.5)
            + METERED
        ]
    )
    assert events[:-1] == [
        ReasoningDelta("Let me see."),
        ReasoningSigned("sig"),
        TextDelta("I look. "),
        CallReady("t1", "read", '{"path":"a"}'),
        TextDelta("Done."),
    ]
    assert ending(events) == "tool_calls"


def test_the_first_event_is_given_at_once_and_deltas_of_one_read_are_joined() -> None:
    source = reader()
    assert source.feed(text("a")) == [TextDelta("a")]
    assert source.feed(text("b") + text("b") + text("") + text("c")) == [TextDelta("bbc")]
    assert source.feed(b"") == []


PIECES = st.one_of(
    st.text(max_size=5).map(text),
    st.text(max_size=5).map(lambda piece: reasoning(text=piece)),
    st.just(reasoning(signature="sig")),
    st.just(reasoning(redactedContent="QUJD")),
    st.builds(
        tool,
        st.sampled_from(["t1", "t2"]),
        input=st.sampled_from(["", "{}", "{", "}", '"a":1', {"a": 1}]),
        stop=st.booleans(),
    ),
    st.just(metadata()),
    st.just(METERED),
    st.just(event("brandNewEvent")),
    st.just(raw("assistantResponseEvent", b"{")),
    st.sampled_from([text("a\ud83d"), text("\ude00a"), reasoning(text="\ud83d"), tool(input='"\ud83d')]),
    st.just(exception("throttlingException", message="slow")),
    st.binary(min_size=1, max_size=20),
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 2000), max_size=6), st.booleans())
def test_a_reply_is_the_same_however_its_bytes_are_cut(
    pieces: list[bytes], at: list[int], tags: bool
) -> None:
    data = b"".join(pieces)
    places = [0, *sorted(place % (len(data) + 1) for place in at), len(data)]
    cut = [data[start:end] for start, end in itertools.pairwise(places)]
    options = {"tags": tags, "stops": ("ab", "}")}
    assert merged(read(cut, **options)) == merged(read([data], **options))


@given(st.lists(PIECES, max_size=8), st.booleans())
def test_every_reply_ends_with_exactly_one_ending_and_is_silent_after_it(
    pieces: list[bytes], breaks: bool
) -> None:
    source = reader()
    failure = Failure(code="KA-NETWORK", message="The line was closed.")
    events = [found for piece in pieces for found in source.feed(piece)]
    events += source.broke(failure) if breaks else source.close()
    ending(events)
    assert source.done
    assert source.feed(text("more")) == source.close() == source.broke(failure) == []


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_end_as_one_failure(chunks: list[bytes]) -> None:
    assert isinstance(read(chunks)[-1], Failed)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param(event("codeEvent", content="x = 1"), TextDelta("x = 1"), id="code"),
        pytest.param(
            raw("assistantResponseEvent", b'{"assistantResponseEvent":{"content":"hi"}}'),
            TextDelta("hi"),
            id="wrapped text",
        ),
        pytest.param(
            event("codeEvent", codeEvent={"content": "x"}), TextDelta("x"), id="wrapped code"
        ),
        pytest.param(
            event("toolUseEvent", toolUseEvent={"toolUseId": "t", "name": "n", "stop": True}),
            CallReady("t", "n", "{}"),
            id="wrapped tool use",
        ),
        pytest.param(reasoning(redactedContent="QUJD"), ReasoningRedacted("QUJD"), id="redacted reasoning"),
        pytest.param(
            event("supplementaryWebLinksEvent", supplementaryWebLinks=LINKS),
            Citation("https://a", "A"),
            id="web links",
        ),
        pytest.param(
            event("citationEvent", target={"location": 3}, citationLink="https://b"),
            Citation("https://b", "", 3, 3),
            id="citation",
        ),
        pytest.param(
            event("citationEvent", target={"range": {"start": 1, "end": 4}}, citationLink="https://b"),
            Citation("https://b", "", 1, 4),
            id="citation of a span",
        ),
        pytest.param(
            event("documentCitationEvent", title="B", location={"web": {"url": "https://b", "domain": "b"}}),
            Citation("https://b", "B"),
            id="citation of the web",
        ),
    ],
)  # fmt: skip
def test_every_kind_of_event_that_says_something(frames: bytes, expected: ReplyEvent) -> None:
    assert reader().feed(frames) == [expected]


# ------------------------------------------------------------------------------------------ tool calls


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        pytest.param([{"stop": True}], "{}", id="nothing"),
        pytest.param([{"input": '{"a":1}', "stop": True}], '{"a":1}', id="one piece"),
        pytest.param([{"input": '{"a"'}, {"input": ":1}"}, {"stop": True}], '{"a":1}', id="pieces"),
        pytest.param([{"input": {"a": 1}}, {"stop": True}], '{"a":1}', id="an object"),
        pytest.param([{"input": "{}"}, {"input": '{"a":1}', "stop": True}], '{"a":1}', id="a false start"),
        pytest.param([{"input": {}}, {"input": '{"a":1}', "stop": True}], '{"a":1}', id="and as an object"),
        pytest.param([{"input": "{}"}, {"input": ""}, {"stop": True}], "{}", id="a start that was all"),
        pytest.param([{"input": '{"a":"\\u20ac€"}', "stop": True}], '{"a":"\\u20ac€"}', id="escaped or not"),
    ],
)  # fmt: skip
def test_arguments_are_joined_and_given_as_the_model_wrote_them(
    pieces: list[dict[str, Any]], arguments: str
) -> None:
    events = read([b"".join(tool(**piece) for piece in pieces) + METERED])
    assert events[:-1] == [CallReady("t1", "read", arguments)]
    assert ending(events) == "tool_calls"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([tool("t2", input='{"a":')], id="no end"),
        pytest.param([tool("t2", input='{"a":', stop=True)], id="half an object"),
        pytest.param([tool("t2", input="[1]", stop=True)], id="no object"),
        pytest.param([tool("t2", input='{"a":' + "[" * 100_000, stop=True)], id="too deep"),
        pytest.param([tool("t2", name="", stop=True)], id="no name"),
        pytest.param([event("toolUseEvent", name="read", stop=True)], id="no id"),
    ],
)
def test_a_call_that_is_not_whole_is_told_and_never_given_and_its_whole_siblings_are(
    pieces: list[bytes],
) -> None:
    whole = [tool("t1", input='{"a":1}', stop=True)]
    for order in (whole + pieces, pieces + whole):
        call, told, end = read([*order, metadata("TOOL_USE"), METERED])
        assert call == CallReady("t1", "read", '{"a":1}')
        assert isinstance(told, TextDelta)
        assert told.text.endswith("was cut off, and was not run.]")
        assert ending([end]) == "length"


def test_a_reply_that_breaks_inside_a_call_tells_so_if_it_told_anything() -> None:
    broken = exception("InternalServerException")
    begun = tool("t1", input='{"a":')

    assert [type(event) for event in read([begun + broken])] == [Failed]
    for reads in ([HI + begun + broken], [HI, begun, broken]):
        events = read(reads)
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == (
            "hi\n\n[The call of the tool read was cut off, and was not run.]"
        )
        assert isinstance(events[-1], Failed)


def test_a_stream_cut_inside_a_frame_of_a_call_gives_no_call() -> None:
    data = tool(input='{"a":1}') + tool(stop=True)
    for end in range(1, len(data)):
        assert not any(isinstance(found, CallReady) for found in read([data[:end]]))


def test_calls_may_come_interleaved_and_a_second_end_gives_no_second_call() -> None:
    parts = [
        tool("t1", input='{"n":'), tool("t2", name="write", input='{"n":'), tool("t1", input="1}"),
        tool("t2", input="2}", stop=True), tool("t1", stop=True), tool("t1", stop=True),
    ]  # fmt: skip
    assert read([*parts, METERED])[:-1] == [
        CallReady("t2", "write", '{"n":2}'),
        CallReady("t1", "read", '{"n":1}'),
    ]


def test_names_are_the_clients_own_again_and_ids_are_such_as_clients_take() -> None:
    names = {"read": "a_very_long_name"}
    assert reader(tool_names=names).feed(tool("tooluse_A-1", stop=True)) == [
        CallReady("tooluse_A-1", "a_very_long_name", "{}")
    ]
    assert reader().feed(tool("call.1:ä", stop=True)) == [CallReady("call_1__", "read", "{}")]


# ------------------------------------------------------------------------------ half characters


def test_half_a_character_alone_becomes_the_sign_that_one_is_missing() -> None:
    events = read([text("a\ud83d") + text("b\ude00") + metadata()])

    assert said(events) == "a\ufffdb\ufffd"
    assert ending(events) == "end"


@pytest.mark.parametrize("separately", [False, True])
@pytest.mark.parametrize(("say", "kind"), [(text, TextDelta), (lambda t: reasoning(text=t), ReasoningDelta)])
def test_a_pair_that_is_split_over_two_events_is_one_character(say: Any, kind: Any, separately: bool) -> None:
    frames = [say("a\ud83d"), METERED, say("\ude00b")]
    reads = frames if separately else [b"".join(frames)]

    assert merged(read(reads))[:-1] == [kind("a\U0001f600b")]


def test_what_comes_before_half_a_character_does_not_wait_for_the_other_half() -> None:
    source = reader()

    assert source.feed(text("a\ud83d")) == [TextDelta("a")]
    assert source.feed(text("\ude00")) == [TextDelta("\U0001f600")]
    assert source.feed(text("\ud83d")) == []
    assert source.feed(reasoning(text="why")) == [TextDelta("\ufffd"), ReasoningDelta("why")]


@given(st.text(max_size=8), st.lists(st.integers(0, 16), max_size=4), st.booleans())
def test_text_cut_by_utf_16_units_is_said_whole(whole: str, at: list[int], tags: bool) -> None:
    units = whole.encode("utf-16-le")
    places = [0, *sorted(min(2 * place, len(units)) for place in at), len(units)]
    pieces = [
        units[start:end].decode("utf-16-le", "surrogatepass") for start, end in itertools.pairwise(places)
    ]

    assert said(read([*map(text, pieces), METERED], tags=tags)) == whole


def test_half_a_character_in_the_older_form_is_read_too() -> None:
    wrapped = raw("assistantResponseEvent", rb'{"assistantResponseEvent":{"content":"a\ud83d"}}')

    assert said(read([wrapped, METERED])) == "a\ufffd"


@pytest.mark.parametrize(
    ("pieces", "given_input"),
    [
        pytest.param([{"input": '{"a":"\\ud83d"}'}], {"a": "\ufffd"}, id="escaped in the arguments"),
        pytest.param([{"input": '{"a":"\ud83d"}'}], {"a": "\ufffd"}, id="in the arguments"),
        pytest.param([{"input": {"a": ["\ud83d"]}}], {"a": ["\ufffd"]}, id="in an object"),
        pytest.param([{"input": '{"a":"\ud83d'}, {"input": '\ude00"}'}], {"a": "\U0001f600"}, id="split"),
        pytest.param(
            [{"input": '{"a":"\\ud83d'}, {"input": '\\ude00"}'}], {"a": "\U0001f600"}, id="split as escapes"
        ),
    ],
)
def test_half_a_character_does_not_cost_a_call(pieces: list[dict[str, Any]], given_input: Any) -> None:
    call, end = read([*(tool(**piece) for piece in pieces), tool(stop=True), METERED])

    assert isinstance(call, CallReady)
    assert json.loads(call.arguments.encode()) == given_input
    assert ending([end]) == "tool_calls"


def test_half_a_character_in_a_name_or_a_signature_does_not_cost_the_reply() -> None:
    events = read([reasoning(text="why", signature="s\ud83d"), tool(name="a\ud83d", stop=True), METERED])

    assert events[:-1] == [
        ReasoningDelta("why"),
        ReasoningSigned("s\ufffd"),
        CallReady("t1", "a\ufffd", "{}"),
    ]


# ------------------------------------------------------------------------------- reasoning in tags


TAGGED = [
    pytest.param("<thinking>why</thinking>\n\nSo.", "why", "So.", id="reasoning, then the answer"),
    pytest.param(" \n<thinking>why</thinking>So.", "why", "So.", id="space before the tag"),
    pytest.param("<thinking>\nwhy\n</thinking>\n", "\nwhy\n", "", id="no answer"),
    pytest.param("<thinking>never closed </thin", "never closed </thin", "", id="never closed"),
    pytest.param("<thinking></thinking>So.", "", "So.", id="no reasoning"),
    pytest.param("A <thinking>x</thinking>.", "", "A <thinking>x</thinking>.", id="a tag inside the answer"),
    pytest.param(
        "<thinking>a</thinking>b<thinking>c</thinking>", "a", "b<thinking>c</thinking>", id="only the first"
    ),
    pytest.param("<think", "", "<think", id="the start of a tag"),
    pytest.param("<thinker>", "", "<thinker>", id="another tag"),
    pytest.param("  ", "", "  ", id="space alone"),
    pytest.param("<thinking>a<b </think</thinking>c", "a<b </think", "c", id="half tags inside"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "thought", "rest"), TAGGED)
def test_a_tag_at_the_very_start_holds_reasoning_wherever_it_is_cut(
    answer: str, thought: str, rest: str
) -> None:
    for cut in range(len(answer) + 1):
        events = merged(read([text(answer[:cut]), text(answer[cut:]), METERED], tags=True))
        assert events[:-1] == [
            *([ReasoningDelta(thought)] if thought else []),
            *([TextDelta(rest)] if rest else []),
        ]
    letters = merged(read([*map(text, answer), METERED], tags=True))
    assert letters == merged(read([text(answer), METERED], tags=True))


def test_a_literal_tag_is_text_where_nobody_asked_for_tags() -> None:
    assert said(read([text("<thinking>x</thinking>")])) == "<thinking>x</thinking>"


def test_tags_end_with_the_first_native_reasoning() -> None:
    events = read([text("<thin"), reasoning(text="native"), text("<thinking>x"), METERED], tags=True)
    assert events[:-1] == [TextDelta("<thin"), ReasoningDelta("native"), TextDelta("<thinking>x")]


# ---------------------------------------------------------------------------------- stop sequences


def test_a_stop_sequence_ends_the_reply_and_is_not_said() -> None:
    source = reader(stops=("END", "\n\n"))
    assert source.feed(text("one E")) == [TextDelta("one ")]
    assert source.feed(text("x E")) == [TextDelta("Ex ")]
    events = source.feed(text("ND two") + tool(stop=True))
    assert isinstance(events[-1], Finished)
    assert (events[:-1], events[-1].reason, events[-1].stop_sequence) == ([], "stop_sequence", "END")
    assert source.done


def test_a_start_of_a_stop_sequence_is_said_when_something_else_follows() -> None:
    source = reader(stops=("END",))
    assert source.feed(text("EN") + tool(stop=True)) == [TextDelta("EN"), CallReady("t1", "read", "{}")]
    assert source.feed(text("EN") + reasoning(text="hm")) == [TextDelta("EN"), ReasoningDelta("hm")]
    assert source.feed(text("E")) == []
    assert source.close()[:-1] == [TextDelta("E")]


def test_nothing_follows_a_stop_that_was_found_late() -> None:
    source = reader(stops=("<th",), tags=True)
    events = source.feed(text("<thin") + reasoning(text="native", signature="s"))
    assert ending(events) == "stop_sequence"
    assert len(events) == 1


@given(
    st.lists(st.text("abc", max_size=4), max_size=8),
    st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3),
)
@example(["abc"], ["abc", "b"])
def test_the_sequence_that_is_complete_first_ends_the_text(pieces: list[str], sequences: list[str]) -> None:
    whole = "".join(pieces)
    ends = [end for end in range(len(whole) + 1) if any(whole[:end].endswith(s) for s in sequences)]
    events = read([*map(text, pieces), METERED], stops=tuple(sequences))
    last = events[-1]
    if ends:
        longest = max((s for s in sequences if whole[: ends[0]].endswith(s)), key=len)
        assert isinstance(last, Finished)
        assert last.stop_sequence == longest
        assert said(events) == whole[: ends[0] - len(longest)]
    else:
        assert said(events) == whole


# ------------------------------------------------------------------------------------------ the ending


HI = text("hi")
CALL = tool(stop=True)
ENDINGS = [
    pytest.param([HI, metadata("END_TURN")], "end", id="END_TURN"),
    pytest.param([HI, metadata("STOP")], "end", id="STOP"),
    pytest.param([HI, metadata("BRAND_NEW")], "end", id="an unknown reason"),
    pytest.param([HI, metadata("PAUSE_TURN")], "length", id="PAUSE_TURN"),
    pytest.param([HI, metadata("MAX_TIME")], "length", id="MAX_TIME"),
    pytest.param([HI, metadata("length_limit")], "length", id="lower case"),
    pytest.param([HI, metadata("STOP_SEQUENCE")], "stop_sequence", id="STOP_SEQUENCE"),
    pytest.param([CALL, metadata("STOP_SEQUENCE")], "tool_calls", id="STOP_SEQUENCE with a call"),
    pytest.param([HI, metadata("GUARDRAIL_INTERVENED")], "content_filter", id="GUARDRAIL_INTERVENED"),
    pytest.param([metadata("Guardrail_Intervened")], "content_filter", id="guarded before a word"),
    pytest.param([HI, metadata("MALFORMED_MODEL_OUTPUT")], "KA-CUT", id="malformed output"),
    pytest.param([CALL, metadata("malformed_tool_use")], "KA-CUT", id="malformed call, in lower case"),
    pytest.param([metadata("MALFORMED_TOOL_USE")], "KA-CUT", id="malformed before a word"),
    pytest.param([HI, metadata(None)], "end", id="metadata without a reason"),
    pytest.param([HI, metadata("TOOL_USE")], "end", id="TOOL_USE without a call"),
    pytest.param([CALL, metadata("TOOL_USE")], "tool_calls", id="TOOL_USE with a call"),
    pytest.param([CALL, metadata("END_TURN")], "tool_calls", id="END_TURN with a call"),
    pytest.param([HI, metadata("MAX_TOKENS")], "length", id="MAX_TOKENS"),
    pytest.param([HI, metadata("LENGTH")], "length", id="LENGTH"),
    pytest.param([HI, metadata("CONTENT_FILTERED")], "content_filter", id="CONTENT_FILTERED"),
    pytest.param([metadata("CONTENT_FILTERED")], "content_filter", id="filtered before a word"),
    pytest.param([metadata("MAX_TOKENS")], "length", id="all spent before a word"),
    pytest.param([HI, metadata("MODEL_CONTEXT_WINDOW_EXCEEDED")], "length", id="window full, after text"),
    pytest.param([metadata("MODEL_CONTEXT_WINDOW_EXCEEDED")], "KA-OVERFLOW", id="window full, nothing said"),
    pytest.param([HI, METERED], "end", id="metering alone"),
    pytest.param([HI, event("contextUsageEvent", contextUsagePercentage=1)], "end", id="context alone"),
    pytest.param([HI], "length", id="text and no word about usage"),
    pytest.param([CALL], "length", id="a call and no word about usage"),
    pytest.param([reasoning(text="hm"), METERED], "end", id="reasoning alone"),
    pytest.param([], "KA-CUT", id="nothing"),
    pytest.param([METERED, metadata()], "KA-CUT", id="usage alone"),
    pytest.param([text(""), reasoning(text=""), METERED], "KA-CUT", id="empty deltas alone"),
    pytest.param([HI, METERED, b"\0"], "KA-CUT", id="one byte too many"),
    pytest.param([HI, HI[:-1]], "KA-CUT", id="the last byte missing"),
    pytest.param([HI, HI[:-1] + b"?", HI], "KA-CUT", id="a wrong checksum"),
    pytest.param([HI, raw("assistantResponseEvent", b"{")], "KA-CUT", id="bad JSON"),
    pytest.param([HI, raw("assistantResponseEvent", b'{"content":"\xff"}')], "KA-CUT", id="no UTF-8"),
    pytest.param([HI, raw("assistantResponseEvent", b'{"content":1}')], "KA-CUT", id="a number for text"),
    pytest.param([HI, raw("toolUseEvent", b'{"input":' + b"[" * 100_000)], "KA-CUT", id="too deep"),
    pytest.param([HI, raw("meteringEvent", b"")], "end", id="an empty payload"),
    pytest.param([HI, exception("throttlingException", message="slow")], "KA-THROTTLE", id="exception"),
    pytest.param(
        [exception("ns#ValidationException", reason="PROMPT_TOO_LONG")], "KA-OVERFLOW", id="exception first"
    ),
    pytest.param([exception("brandNewException")], "KA-SERVICE", id="an unknown exception"),
    pytest.param([event("error", message="broken")], "KA-SERVICE", id="an error event"),
    pytest.param(
        [encode_frame({":message-type": "error", ":error-code": "InternalFailure"}, b"")],
        "KA-SERVICE",
        id="an error of the framing",
    ),
    pytest.param(
        [
            encode_frame(
                {":message-type": "error", ":error-code": "X", ":error-message": "Input is too long."}, b""
            )
        ],
        "KA-OVERFLOW",
        id="an error whose message is a header",
    ),
    pytest.param([encode_frame({":event-type": 7}, b"{}"), HI, METERED], "end", id="an odd header"),
    pytest.param(
        [b'{"__type":"x#Throttling', b'Exception","message":"slow"}'], "KA-THROTTLE", id="bare JSON"
    ),
]


@pytest.mark.parametrize(("frames", "expected"), ENDINGS)
def test_the_end_is_judged_by_what_was_seen(frames: list[bytes], expected: str) -> None:
    events = read(frames)
    assert ending(events) == expected
    assert said(events) == ("hi" if HI in frames else "")
    last = events[-1]
    assert not isinstance(last, Failed) or last.failure.request_id == "r-1"


def test_what_stood_before_the_damage_in_one_read_is_still_said() -> None:
    events = read([text("good") + HI[:-1] + b"?" + text("lost")])
    assert said(events) == "good"
    assert ending(events) == "KA-CUT"


def test_a_broken_line_ends_with_its_failure_after_what_was_held_back() -> None:
    source = reader(stops=("END",), request_id=None)
    failure = Failure(code="KA-NETWORK", message="The line was closed.")
    assert source.feed(text("a E")) == [TextDelta("a ")]
    events = source.broke(failure)
    assert events[0] == TextDelta("E")
    assert isinstance(events[1], Failed)
    assert events[1].failure is failure


def test_of_an_answer_without_framing_only_the_start_is_kept() -> None:
    long = json.dumps({"message": "x" * 100_000, "__type": "ThrottlingException"}).encode()
    assert ending(read([long[:1], long[1:]])) == "KA-SERVICE"


# ----------------------------------------------------------------------------------------------- usage


def usage_of(*frames: bytes, **options: Any) -> Any:
    last = read([text("12345678"), *frames], **options)[-1]
    assert isinstance(last, Finished)
    return last.usage


def test_figures_that_the_service_measured_are_taken_with_the_cached_ones_in_the_input() -> None:
    usage = usage_of(
        metadata(
            uncachedInputTokens=100, outputTokens=7, cacheReadInputTokens=20, cacheWriteInputTokens=3
        ),
        event("contextUsageEvent", contextUsagePercentage=50),
        METERED,
    )  # fmt: skip
    assert (usage.input, usage.output) == (Figure(123, "measured"), Figure(7, "measured"))
    assert (usage.cache_read, usage.cache_write) == (20, 3)
    assert usage.credits == 0.05


def test_without_measured_figures_the_context_percentage_tells_the_input() -> None:
    usage = usage_of(event("contextUsageEvent", contextUsagePercentage=1.5))
    assert (usage.input, usage.output) == (Figure(2998, "derived"), Figure(2, "estimated"))
    assert (usage.cache_read, usage.cache_write, usage.credits) == (None, None, None)
    inside = usage_of(metadata(contextUsagePercentage=10))
    assert inside.input == Figure(19_998, "derived")


def test_without_any_figure_usage_is_estimated_and_called_so() -> None:
    usage = usage_of()
    assert (usage.input, usage.output) == (Figure(ESTIMATE, "estimated"), Figure(2, "estimated"))


def test_credits_add_up() -> None:
    assert usage_of(METERED, METERED).credits == pytest.approx(0.1)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([metadata(uncachedInputTokens=0, outputTokens=0)], id="measured"),
        pytest.param([event("contextUsageEvent", contextUsagePercentage=0.0001)], id="derived"),
        pytest.param([event("contextUsageEvent", contextUsagePercentage=0)], id="estimated"),
        pytest.param([metadata(uncachedInputTokens=-5)], id="nonsense"),
    ],
)
def test_input_is_never_zero(frames: list[bytes]) -> None:
    assert usage_of(*frames, input_tokens=0).input.value >= 1


def test_figures_as_text_or_with_a_point_are_read() -> None:
    usage = usage_of(metadata(uncachedInputTokens=12.0, outputTokens="7"))
    assert (usage.input.value, usage.output.value) == (12, 7)


def test_a_failed_reply_still_says_what_it_used() -> None:
    last = read([text("1234"), METERED, exception("InternalServerException")])[-1]
    assert isinstance(last, Failed)
    assert (last.usage.credits, last.usage.output) == (0.05, Figure(1, "estimated"))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("metadataEvent", b'{"tokenUsage": {"outputTokens": 12.5}}'),
        ("contextUsageEvent", b'{"contextUsagePercentage": "n/a"}'),
        ("meteringEvent", b'{"usage": {"value": 1}}'),
        ("citationEvent", b'{"citationLink": 5}'),
        ("documentCitationEvent", b'{"location": "page 3"}'),
        ("supplementaryWebLinksEvent", b'{"supplementaryWebLinks": ["https://example.com"]}'),
    ],
)
def test_what_is_said_about_an_answer_never_costs_the_answer(kind: str, payload: bytes) -> None:
    events = read([text("Hello"), raw(kind, payload), metadata()])

    assert isinstance(events[-1], Finished)


def test_an_answer_that_cannot_be_read_is_a_failure() -> None:
    assert isinstance(read([text("Hello"), raw("assistantResponseEvent", b'{"content": 5')])[-1], Failed)
