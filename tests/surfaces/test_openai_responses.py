"""The Responses API: requests read, replies written, as the official SDK reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Document,
    Failed,
    Figure,
    Finished,
    Image,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningRedacted,
    ReasoningSigned,
    RedactedReasoning,
    ReplyEvent,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from kiro_auth.failures import CATALOGUE, Failure, TurnFailed
from kiro_auth.surfaces import openai_responses

USAGE = Usage(Figure(100, "measured"), Figure(20, "measured"))
ASKED = Conversation(model="claude-sonnet-4.6", messages=())
HIDDEN = Conversation(model="claude-sonnet-4.6", messages=(), thinking=Thinking(visible=False))
END = Finished("end", USAGE)
REPLY: list[ReplyEvent] = [
    ReasoningDelta("Hm."),
    ReasoningSigned("sig"),
    ReasoningRedacted("cmVk"),
    TextDelta("Hi "),
    TextDelta("there"),
    CallReady("t1", "read", '{"a":1}'),
    CallReady("t2", "write", "{}"),
    Finished("tool_calls", USAGE),
]
USER = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}

streamed_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def decoded(*items: dict[str, Any], headers: dict[str, str] | None = None, **more: Any) -> Conversation:
    body = {"model": "m", "input": items or "Hi", **more}
    return openai_responses.decode(json.dumps(body).encode(), headers or {})


def stream(*batches: list[ReplyEvent], conversation: Conversation = ASKED) -> list[dict[str, Any]]:
    """The events of a stream, each checked to be named and numbered right."""
    encoder = openai_responses.stream_encoder(conversation, reply_id="ab", created=7, input_tokens=9)
    wire = b"".join(encoder.encode(batch) for batch in batches).decode()
    assert wire.endswith("\n\n")
    found = []
    for number, event in enumerate(wire.removesuffix("\n\n").split("\n\n")):
        name, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
        assert found[-1]["sequence_number"] == number
    return found


def whole(*events: ReplyEvent, conversation: Conversation = ASKED) -> Any:
    return json.loads(openai_responses.encode_reply(conversation, events, reply_id="ab", created=7))


# ---------------------------------------------------------------------------------------- requests


def test_a_text_is_one_turn_of_the_user() -> None:
    assert decoded().messages == (Message("user", (Text("Hi"),)),)


def test_instructions_before_the_first_turn_are_the_system_prompt_and_later_ones_stay() -> None:
    found = decoded(
        {"role": "developer", "content": "B"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "C"}]},
        USER,
        {"role": "developer", "content": "D"},
        instructions="A",
    )

    assert found.system == ("A", "B", "C")
    assert found.messages == (Message("user", (Text("Hi"),)), Message("system", (Text("D"),)))


def test_what_the_model_said_in_several_items_is_one_turn() -> None:
    found = decoded(
        USER,
        {"role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        {"type": "function_call", "call_id": "t1", "name": "read", "arguments": '{"path": "a"}'},
        {"type": "custom_tool_call", "call_id": "t2", "name": "patch", "input": "***"},
        {"type": "function_call_output", "call_id": "t1", "output": "A"},
        {
            "type": "custom_tool_call_output",
            "call_id": "t2",
            "output": [{"type": "input_image", "image_url": "data:image/png;base64,aGk="}],
        },
    )

    assert found.messages[1:] == (
        Message(
            "assistant",
            (Text("Well."), ToolCall("t1", "read", {"path": "a"}), ToolCall("t2", "patch", {"input": "***"})),
        ),
        Message("user", (ToolResult("t1", (Text("A"),)),)),
        Message("user", (ToolResult("t2", (Image("png", "aGk="),)),)),
    )


def test_pictures_and_files_travel_as_what_they_are_and_others_leave_a_note() -> None:
    parts = [
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_image", "image_url": "https://u:pass@host.example/a.png"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_audio", "data": "aGk="},
    ]
    image, document, *notes = decoded({"role": "user", "content": parts}).messages[0].content

    assert (image, document) == (Image("png", "aGk="), Document("a.pdf", "pdf", "aGk="))
    assert all(isinstance(note, Text) and "left out" in note.text for note in notes)
    assert "pass" not in str(notes)


def test_items_kept_elsewhere_are_passed_over() -> None:
    found = decoded(
        USER,
        {"type": "item_reference", "id": "msg_1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA-of-somebody-else"},
        {"type": "reasoning", "summary": [], "encrypted_content": "kiro1.!"},
        {"role": "user", "content": "Go on"},
    )

    assert [message.content for message in found.messages] == [(Text("Hi"),), (Text("Go on"),)]


def test_tools_in_a_namespace_count_and_server_tools_do_not() -> None:
    read = {"type": "function", "name": "read", "description": "R", "parameters": None}
    tools = [read, {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "spawn"}]}]
    found = decoded(tools=[*tools, {"type": "web_search"}]).tools

    assert [(tool.name, tool.schema["type"]) for tool in found] == [("read", "object"), ("spawn", "object")]


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        ("auto", ToolChoice()),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "read"}, ToolChoice("required", ("read",))),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "read"}, {"type": "web_search"}, 5],
            },
            ToolChoice("auto", ("read",)),
        ),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, ToolChoice("required")),
        ({"type": "web_search"}, ToolChoice()),
    ],
)
def test_tool_choice_is_read(choice: Any, read: ToolChoice) -> None:
    assert decoded(tool_choice=choice).tool_choice == read


def test_settings_are_read() -> None:
    found = decoded(
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=5,
        stream=True,
        prompt_cache_key="key",
        include=["reasoning.encrypted_content"],
        store=False,
        text={"format": {"type": "text"}, "verbosity": "low"},
    )

    assert found.thinking == Thinking(effort="high")
    assert (found.stream, found.session) == (True, "key")
    assert decoded(reasoning={"effort": "none"}).thinking == Thinking(enabled=False)
    assert decoded(headers={"thread-id": "t"}, prompt_cache_key="key").session == "t"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("top_logprobs", 3),
        ("prompt", {"id": "p"}),
        ("n", 2),
        ("text.format", {"format": {"type": "json_schema"}}),
        ("input", []),
        ("input", [{"role": "oracle", "content": "Hi"}]),
        ("input", [{"content": "Hi"}]),
        ("input", [{"role": "user", "content": 1}]),
        ("input", [{"role": "user", "content": [{"text": "Hi"}]}]),
        ("input", [{"role": "user", "content": [{"type": "input_text"}]}]),
        ("input", [{"type": "function_call", "name": "f"}]),
        ("input", [{"type": "function_call_output", "output": "A"}]),
        ("input", [{"type": "function_call", "call_id": "1", "name": "f", "arguments": "[1]"}]),
        ("input", [{"type": "function_call", "call_id": "1", "name": "f", "arguments": {}}]),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: str, value: Any) -> None:
    body = {"model": "m", "input": "Hi", field.partition(".")[0]: value}
    with pytest.raises(TurnFailed) as raised:
        openai_responses.decode(json.dumps(body).encode(), {})

    assert raised.value.failure.code == "KA-REQUEST"
    assert f"`{field}" in raised.value.failure.message


def test_items_that_the_gateway_cannot_know_are_passed_over_whatever_they_hold() -> None:
    unknown = [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": "mcp_call", "content": "words", "role": "oracle"},
        {"type": "web_search_call", "content": [{"type": "x"}]},
    ]

    assert decoded(USER, *unknown, USER).messages == decoded(USER, USER).messages


def test_half_a_character_in_a_call_s_input_is_mended() -> None:
    call = {
        "type": "function_call",
        "call_id": "t1",
        "name": "read",
        "arguments": r'{"a": "\ud83d"}',
    }

    assert decoded(USER, call).messages[1].content == (ToolCall("t1", "read", {"a": "\ufffd"}),)


items = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["message", "function_call", "function_call_output", "reasoning", "x", None]
            ),
            "role": st.sampled_from(["user", "assistant", "developer", "oracle", 5]),
            "content": st.sampled_from(["Hi", [], [{"type": "input_text", "text": "Hi"}], [{}], 5, None]),
            "call_id": st.sampled_from(["t1", 5]),
            "name": st.sampled_from(["read", 5]),
            "arguments": st.sampled_from(["", "{}", "[", '{"a": 1}', {}, None]),
            "output": st.sampled_from(["A", [{"type": "input_text", "text": "A"}], 5, None]),
            "encrypted_content": st.sampled_from(["kiro1.e30=", "kiro1.???", "gAAA", 5, None]),
        },
    ),
    min_size=1,
    max_size=4,
)


@given(items)
def test_any_items_are_a_conversation_or_a_refusal_that_names_the_item(given_items: Any) -> None:
    complaint = "`input"
    try:
        decoded(*given_items)
    except TurnFailed as refusal:
        complaint = refusal.failure.message

    assert "`input" in complaint


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_a_refusal_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(TurnFailed):
        openai_responses.decode(body, {})


# ----------------------------------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("end", "completed", None),
        ("tool_calls", "completed", None),
        ("stop_sequence", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_each_ending_has_its_status(reason: StopReason, status: str, why: Any) -> None:
    last = stream([TextDelta("Hi")], [Finished(reason, USAGE)])[-1]

    assert last["type"] == f"response.{status}"
    assert (last["response"]["status"], last["response"]["incomplete_details"]) == (status, why)
    assert last["response"]["output"][0]["status"] == status


@pytest.mark.parametrize("code", CATALOGUE)
@pytest.mark.parametrize("said", [[], [TextDelta("Hi")]], ids=["before", "within"])
def test_a_reply_that_breaks_off_ends_as_failed(code: str, said: list[ReplyEvent]) -> None:
    failed = Failed(Failure(code=code, message="It broke off."), USAGE)
    last = stream([*said, failed])[-1]

    assert last["type"] == "response.failed"
    assert [item["status"] for item in last["response"]["output"]] == ["incomplete"] * len(said)
    assert "It broke off." in last["response"]["error"]["message"]
    assert (last["response"]["error"]["code"] == "server_error") == CATALOGUE[code].passing
    with pytest.raises(TurnFailed):
        whole(*said, failed)


def test_a_reply_sent_back_is_read_as_what_was_said() -> None:
    again = decoded(USER, *whole(*REPLY)["output"]).messages[1]

    assert again.content == (
        Reasoning("Hm.", "sig"),
        RedactedReasoning("cmVk"),
        Text("Hi there"),
        ToolCall("t1", "read", {"a": 1}),
        ToolCall("t2", "write", {}),
    )


def test_hidden_reasoning_is_not_shown_but_survives_being_sent_back() -> None:
    reply = whole(*REPLY, conversation=HIDDEN)

    assert "Hm." not in json.dumps(reply)
    assert "Hm." not in json.dumps(stream(REPLY, conversation=HIDDEN))
    assert decoded(USER, *reply["output"]).messages[1].content[0] == Reasoning("Hm.", "sig")


def test_every_item_is_added_and_done_at_its_own_index() -> None:
    events = stream(REPLY)
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    done = [event for event in events if event["type"] == "response.output_item.done"]

    assert added == [event["output_index"] for event in done] == [0, 1, 2, 3, 4]
    assert [event["item"] for event in done] == events[-1]["response"]["output"]


texts = st.text(min_size=1, max_size=20)
said_events = st.lists(
    st.one_of(
        texts.map(TextDelta),
        texts.map(ReasoningDelta),
        texts.map(ReasoningSigned),
        texts.map(ReasoningRedacted),
        st.builds(CallReady, texts, texts, st.just("{}")),
        st.builds(Citation, texts, texts, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
    ),
    max_size=12,
)


DONE = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.reasoning_summary_text.delta": ("response.reasoning_summary_text.done", "text"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments"),
}
"""By the event of a piece: the event of the whole, and where it holds it."""


def checked(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each event is of the official SDK's types, and the pieces of each item are its whole."""
    pieces: dict[tuple[str, str], str] = {}
    for event in events:
        streamed_event.validate_python(event)
        if event["type"] in DONE:
            place = (DONE[event["type"]][0], event["item_id"])
            pieces[place] = pieces.get(place, "") + event["delta"]
    whole_ones = {
        (event["type"], event["item_id"]): event[field]
        for event in events
        for done, field in DONE.values()
        if event["type"] == done
    }
    assert pieces == whole_ones
    return events


@given(said_events, st.integers(0, 12))
def test_a_stream_that_breaks_off_is_well_formed_to_its_end(said: list[ReplyEvent], cut: int) -> None:
    failed = Failed(Failure(code="KA-CUT", message="It broke off."), USAGE)
    events = checked(stream(said[:cut], [*said[cut:], failed]))
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"]["id"] for event in events if event["type"] == "response.output_item.done"]

    assert added == done
    assert events[-1]["type"] == "response.failed"


def test_a_ping_is_a_comment() -> None:
    encoder = openai_responses.stream_encoder(ASKED, reply_id="ab", created=7, input_tokens=9)

    assert encoder.ping() == b": ping\n\n"


def test_what_the_service_said_of_its_cache_is_told() -> None:
    usage = Usage(Figure(100, "measured"), Figure(20, "measured"), cache_read=60, cache_write=30)

    told = whole(TextDelta("Hi"), Finished("end", usage))["usage"]

    assert told["input_tokens_details"] == {"cached_tokens": 60, "cache_write_tokens": 30}
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (100, 20, 120)


@given(said_events, st.sampled_from([END, Finished("length", USAGE)]), st.integers(0, 12))
def test_a_stream_and_a_whole_reply_say_the_same_to_the_official_sdk(
    said: list[ReplyEvent], end: Finished, cut: int
) -> None:
    events = checked(stream(said[:cut], [*said[cut:], end]))
    reply = whole(*said, end)
    Response.model_validate(reply)

    endings = ("response.completed", "response.incomplete", "response.failed")
    assert [event for event in events if event["type"] in endings] == [events[-1]]
    assert events[-1]["response"] == reply
    deltas = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert deltas == "".join(event.text for event in said if isinstance(event, TextDelta))


def test_a_source_of_the_answer_is_an_annotation_of_its_message() -> None:
    reply = whole(
        Citation("https://early", ""),
        TextDelta("Hi"),
        Citation("https://a", "A"),
        Citation("b", "", 1, 2),
        END,
    )

    [message] = reply["output"]
    assert message["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 2},
        {"type": "url_citation", "url": "b", "title": "", "start_index": 1, "end_index": 2},
    ]
