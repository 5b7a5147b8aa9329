"""The Responses API: requests read, replies written, as the official SDK reads them."""

from __future__ import annotations

import json
import re
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    CallReady,
    Citation,
    Conversation,
    Document,
    Failed,
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
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from kiro_auth.failures import CATALOGUE, Failure, TurnFailed
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.openai import responses as openai_responses
from support.sdks import of_openai

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
    writer = openai_responses.whole_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    return json.loads(writer.encode(events))


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


def test_reasoning_that_cannot_be_replayed_is_passed_over() -> None:
    found = decoded(
        USER,
        {"type": "item_reference", "id": "rs_1"},
        {"type": "reasoning", "summary": [], "encrypted_content": "gAAAA-of-somebody-else"},
        {"type": "reasoning", "summary": [], "encrypted_content": "kiro1.!"},
        {"role": "user", "content": "Go on"},
    )

    assert [message.content for message in found.messages] == [(Text("Hi"),), (Text("Go on"),)]


@pytest.mark.parametrize("reference", [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_1"}])
def test_an_item_kept_elsewhere_leaves_a_note_in_its_place(reference: dict[str, Any]) -> None:
    asked, note, more = decoded(USER, reference, USER).messages

    assert asked == more
    [text] = note.content
    assert isinstance(text, Text)
    assert (note.role, "left out" in text.text) == ("assistant", True)


CALLS_AND_RESULTS = [
    ("local_shell_call", "action", {"type": "exec", "command": ["ls"]}, "assistant"),
    ("shell_call", "action", {"commands": ["ls"]}, "assistant"),
    ("shell_call_output", "output", [{"stdout": "a.txt", "stderr": ""}], "user"),
    ("apply_patch_call", "operation", {"type": "delete_file", "path": "a.txt"}, "assistant"),
    ("apply_patch_call_output", "output", "Deleted a.txt.", "user"),
    ("computer_call", "action", {"type": "wait"}, "assistant"),
    ("computer_call_output", "output", {"type": "computer_screenshot", "file_id": "file-1"}, "user"),
    ("file_search_call", "results", [{"text": "found"}], "assistant"),
    ("web_search_call", "action", {"type": "open_page", "url": "https://a"}, "assistant"),
    ("code_interpreter_call", "code", "print(1)", "assistant"),
    ("image_generation_call", "revised_prompt", "A cat.", "assistant"),
    ("mcp_list_tools", "tools", [{"name": "read"}], "assistant"),
    ("mcp_call", "output", "A", "assistant"),
    ("mcp_approval_request", "arguments", "{}", "assistant"),
    ("mcp_approval_response", "reason", "No.", "user"),
    ("tool_search_call", "arguments", {"query": "read"}, "assistant"),
    ("program", "code", "call()", "assistant"),
    ("program_output", "result", "1", "user"),
    ("of_tomorrow", "content", "words", "assistant"),
]
READ_AS_WHAT_THEY_ARE = {
    *("message", "reasoning", "item_reference", "additional_tools", "tool_search_output"),
    *("function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"),
    *("local_shell_call_output", "compaction_trigger"),
}
REFUSED_ITEMS = {"compaction", "configuration_update"}


def test_of_every_type_of_item_that_there_is_it_is_known_what_becomes_of_it() -> None:
    from openai.types.responses import ResponseInputItemParam

    types = {
        name
        for item in typing.get_args(ResponseInputItemParam)
        for name in re.findall(r"'(\w+)'", str(typing.get_type_hints(item)["type"]))
    }

    assert types == READ_AS_WHAT_THEY_ARE | REFUSED_ITEMS | {row[0] for row in CALLS_AND_RESULTS[:-1]}


@pytest.mark.parametrize(("kind", "field", "value", "side"), CALLS_AND_RESULTS)
def test_a_call_or_result_without_a_shape_in_kiro_is_carried_over_as_text(
    kind: str, field: str, value: Any, side: str
) -> None:
    item = {"type": kind, "id": "i1", field: value, "status": None}
    turn = decoded(USER, item, USER).messages[1]

    [text] = turn.content
    assert isinstance(text, Text)
    assert turn.role == side
    assert json.loads(text.text.partition("\n")[2]) == {"type": kind, "id": "i1", field: value}


@pytest.mark.parametrize("kind", [*sorted(REFUSED_ITEMS), "compaction_of_tomorrow"])
def test_an_item_without_which_the_conversation_would_be_another_is_refused_by_name(kind: str) -> None:
    with pytest.raises(TurnFailed) as refusal:
        decoded(USER, {"type": kind, "encrypted_content": "gAAA"})

    assert refusal.value.failure.code == "KA-REQUEST"
    assert f"`input.1` of the type {kind}" in refusal.value.failure.message


def test_pictures_of_openai_s_own_tools_are_seen() -> None:
    screen = {"type": "computer_screenshot", "image_url": "data:image/png;base64,aGk="}
    found = decoded(
        {"type": "computer_call_output", "call_id": "t1", "output": screen},
        {"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "output_format": "webp"},
        {"type": "image_generation_call", "id": "ig_2", "result": "aGk="},
    )

    assert [message.content[-1] for message in found.messages] == [
        Image("png", "aGk="),
        Image("webp", "aGk="),
        Image("png", "aGk="),
    ]


@pytest.mark.parametrize(
    "item",
    [
        {"type": "code_interpreter_call", "outputs": [{"url": "data:image/png;base64,aGk="}]},
        {"type": "program", "fingerprint": "aGk="},
        {"type": "of_tomorrow", "content": [{"encrypted_content": "aGk="}]},
    ],
)
def test_what_is_not_for_reading_is_marked_as_left_out(item: dict[str, Any]) -> None:
    [turn] = decoded(item).messages

    assert "aGk=" not in str(turn)
    assert "[left out]" in str(turn)


@pytest.mark.parametrize(("kind", "side"), [("additional_tools", "system"), ("tool_search_output", "user")])
def test_tools_offered_within_the_conversation_are_offered(kind: str, side: str) -> None:
    late = {"type": kind, "role": "developer", "tools": [{"type": "function", "name": "late"}, 5]}
    found = decoded(USER, late, tools=[{"type": "function", "name": "read"}])

    assert [tool.name for tool in found.tools] == ["read", "late"]
    assert found.messages[1].role == side
    assert found.messages[1].content == (Text("The tool late is available."),)


def test_a_custom_tool_is_offered_as_one_that_takes_a_text_and_its_grammar_is_told() -> None:
    form = {"type": "grammar", "syntax": "regex", "definition": "a+"}
    patch = {"type": "custom", "name": "patch", "description": "Patch.", "format": form}
    note = {"type": "custom", "name": "note", "format": {"type": "text"}}
    found = decoded(tools=[patch, {"type": "namespace", "name": "n", "tools": [note]}]).tools

    assert [(tool.name, tool.kind) for tool in found] == [("patch", "custom"), ("n__note", "custom")]
    assert found[0].description == "Patch.\n\nThe input must match this regular expression:\n\na+"
    assert found[0].schema["required"] == ["input"]
    assert found[0].schema["properties"]["input"]["type"] == "string"


def test_tools_in_a_namespace_count_and_of_server_tools_the_model_is_told() -> None:
    read = {"type": "function", "name": "read", "description": "R", "parameters": None}
    tools = [read, {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "spawn"}]}]
    asked = decoded(tools=[*tools, {"type": "file_search"}])
    found = asked.tools

    assert "file_search" in asked.system[-1]
    assert [(tool.name, tool.schema["type"]) for tool in found] == [
        ("read", "object"),
        ("n__spawn", "object"),
    ]
    assert [tool.namespace for tool in found] == ["", "n"]


def test_tools_of_one_name_in_several_namespaces_stay_apart() -> None:
    read = {"type": "function", "name": "read", "description": "Reads."}
    write, patch = {"type": "function", "name": "write"}, {"type": "custom", "name": "patch"}
    first = {"type": "namespace", "name": "mcp__a", "description": "Files.", "tools": [read, write]}
    second = {"type": "namespace", "name": "mcp__b__", "tools": [read, patch]}
    call = {"type": "function_call", "call_id": "1", "namespace": "mcp__b__", "name": "read"}
    choice = {"type": "custom", "name": "patch"}
    found = decoded(USER, call, tools=[read, first, second], tool_choice=choice)

    names = ["read", "mcp__a__read", "mcp__a__write", "mcp__b__read", "mcp__b__patch"]
    assert [tool.name for tool in found.tools] == names
    assert found.tools[1].description == "Reads.\n\nAbout the tools mcp__a__*: Files."
    assert found.tools[3].description == "Reads."
    assert found.tool_choice == ToolChoice("required", ("mcp__b__patch",))
    assert found.messages[1].content == (ToolCall("1", "mcp__b__read", {}),)


@pytest.mark.parametrize("namespace", ["mcp__a", "mcp__a__"])
@pytest.mark.parametrize("kind", ["function", "custom"])
def test_a_call_of_a_tool_in_a_namespace_names_the_two_apart(namespace: str, kind: str) -> None:
    inner = {"type": kind, "name": "patch"}
    asked = decoded(USER, tools=[{"type": "namespace", "name": namespace, "tools": [inner]}])
    call = CallReady("1", asked.tools[0].name, '{"input":"x"}')
    reply = whole(call, END, conversation=asked)

    of_openai("responses.Response", reply)
    (item,) = reply["output"]
    assert (item["namespace"], item["name"]) == (namespace, "patch")
    assert decoded(USER, item).messages[1].content == (ToolCall("1", "mcp__a__patch", {"input": "x"}),)


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
                "tools": [{"type": "function", "name": "read"}, {"type": "file_search"}, 5],
            },
            ToolChoice(names=("read",)),
        ),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, ToolChoice("none")),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "file_search"}]},
            ToolChoice("none"),
        ),
        ({"type": "custom", "name": "patch"}, ToolChoice("required", ("patch",))),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "patch"}]},
            ToolChoice(names=("patch",)),
        ),
        ({"type": "web_search"}, ToolChoice("required", ("web_search",))),
    ],
)
def test_tool_choice_is_read(choice: Any, read: ToolChoice) -> None:
    offered = [{"type": "function", "name": "read"}, {"type": "custom", "name": "patch"}]

    assert decoded(tools=offered, tool_choice=choice).tool_choice == read


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
        ("text.format", {"format": {"type": "grammar"}}),
        ("tool_choice", 5),
        ("messages", [{"role": "user", "content": "Hi"}]),
        ("input", []),
        ("input", [{"role": "oracle", "content": "Hi"}]),
        ("input", [{"content": "Hi"}]),
        ("input", [{}]),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: str, value: Any) -> None:
    body = {"model": "m", "input": "Hi", field.partition(".")[0]: value}
    with pytest.raises(TurnFailed) as raised:
        openai_responses.decode(json.dumps(body).encode(), {})

    assert raised.value.failure.code == "KA-REQUEST"
    assert f"`{field}" in raised.value.failure.message


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
                [
                    "message",
                    "function_call",
                    "function_call_output",
                    "reasoning",
                    "additional_tools",
                    "x",
                    None,
                ]
            ),
            "role": st.sampled_from(["user", "assistant", "developer", "oracle", 5]),
            "content": st.sampled_from(["Hi", [], [{"type": "input_text", "text": "Hi"}], [{}], 5, None]),
            "call_id": st.sampled_from(["t1", 5]),
            "name": st.sampled_from(["read", 5]),
            "arguments": st.sampled_from(["", "{}", "[", '{"a": 1}', {}, [5], 5, None]),
            "output": st.sampled_from(["A", [{"type": "input_text", "text": "A"}], 5, None]),
            "tools": st.sampled_from([[], [{"type": "function", "name": "late"}], [5], 5, None]),
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
    assert f"It broke off ({code})." in last["response"]["error"]["message"]
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


CUSTOM = Conversation(model="m", messages=(), tools=(Tool("patch", "", {}, kind="custom"),))


def test_a_call_of_a_custom_tool_is_handed_over_as_its_text_and_read_again() -> None:
    said = [CallReady("t1", "patch", '{"input": "a\\n"}'), CallReady("t2", "read", "{}"), END]
    events = checked(stream(said, conversation=CUSTOM))
    reply = whole(*said, conversation=CUSTOM)
    of_openai("responses.Response", reply)

    custom, function = reply["output"]
    told = {"type": "custom_tool_call", "call_id": "t1", "name": "patch"}
    assert custom == {**told, "id": "ctc_ab_0", "input": "a\n", "status": "completed"}
    assert function["type"] == "function_call"
    assert [event["type"] for event in events[2:6]] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    assert (events[2]["item"]["input"], events[3]["delta"], events[4]["input"]) == ("", "a\n", "a\n")
    assert events[5]["item"] == custom
    assert decoded(USER, custom).messages[1].content == (ToolCall("t1", "patch", {"input": "a\n"}),)


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
    "response.custom_tool_call_input.delta": ("response.custom_tool_call_input.done", "input"),
}
"""By the event of a piece: the event of the whole, and where it holds it."""


def checked(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each event is of the official SDK's types, and the pieces of each item are its whole."""
    pieces: dict[tuple[str, str], str] = {}
    for event in events:
        of_openai("responses.ResponseStreamEvent", event)
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
    of_openai("responses.Response", reply)

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


def test_an_item_whose_type_is_no_text_is_refused_by_name() -> None:
    item = {"type": [], "call_id": "gone", "output": "An old finding."}
    body = {"model": "m", "input": [{"role": "user", "content": "Go."}, item]}

    with pytest.raises(TurnFailed, match=r"input\.1"):
        openai_responses.decode(json.dumps(body).encode(), {})
