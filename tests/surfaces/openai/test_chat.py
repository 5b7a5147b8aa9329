"""The Chat Completions API: requests read, replies written, as the official SDK reads them."""

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
    Document,
    Failed,
    Finished,
    Image,
    Message,
    Reasoning,
    ReasoningDelta,
    ReasoningSigned,
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
from kiro_auth.surfaces.openai import chat as openai_chat
from support.sdks import of_openai

USAGE = Usage(Figure(100, "measured"), Figure(20, "measured"))
ASKED = Conversation(model="claude-sonnet-4.6", messages=())
HIDDEN = Conversation(model="claude-sonnet-4.6", messages=(), thinking=Thinking(visible=False))
END = Finished("end", USAGE)
CALLS: list[ReplyEvent] = [CallReady("t1", "read", '{"a":1}'), CallReady("t2", "write", "{}")]
PNG = "data:image/png;base64,aGk="
USER = {"role": "user", "content": "Hi"}


def decoded(*messages: dict[str, Any], headers: dict[str, str] | None = None, **more: Any) -> Conversation:
    body = {"model": "m", "messages": messages or [{"role": "user", "content": "Hi"}], **more}
    return openai_chat.decode(json.dumps(body).encode(), headers or {})


def chunks(*batches: list[ReplyEvent], conversation: Conversation = ASKED) -> tuple[list[Any], bool]:
    """The chunks of a stream, and whether it says that it is done."""
    stream = openai_chat.stream_encoder(conversation, reply_id="ab", created=7, input_tokens=9)
    wire = b"".join(stream.encode(batch) for batch in batches).decode()
    assert wire.endswith("\n\n")
    lines = [line.removeprefix("data: ") for line in wire.removesuffix("\n\n").split("\n\n")]
    done = lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[: len(lines) - done]], done


def whole(*events: ReplyEvent, conversation: Conversation = ASKED) -> Any:
    writer = openai_chat.whole_encoder(conversation, reply_id="ab", created=7, input_tokens=1)
    return json.loads(writer.encode(events))


# ---------------------------------------------------------------------------------------- requests


def test_instructions_before_the_first_turn_are_the_system_prompt_and_later_ones_stay() -> None:
    found = decoded(
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "C"},
    )

    assert found.system == ("A", "B")
    assert found.messages == (Message("user", (Text("Hi"),)), Message("system", (Text("C"),)))


def test_a_whole_tool_turn_is_read_in_order() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "read", "arguments": '{"path": "a"}'}}
    found = decoded(
        {"role": "user", "content": "Read a."},
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "A"}]},
    )

    assert found.messages[1].content == (Reasoning("Hm."), ToolCall("t1", "read", {"path": "a"}))
    assert found.messages[2] == Message("user", (ToolResult("t1", (Text("A"),)),))


def test_a_custom_tool_is_offered_as_one_that_takes_a_text_and_its_grammar_is_told() -> None:
    grammar = {"syntax": "lark", "definition": 'start: "a"'}
    [plain, patch] = decoded(
        tools=[
            {"type": "custom", "custom": {"name": "note", "description": "N", "format": {"type": "text"}}},
            {
                "type": "custom",
                "custom": {"name": "patch", "format": {"type": "grammar", "grammar": grammar}},
            },
        ]
    ).tools

    assert (plain.name, plain.description, plain.kind) == ("note", "N", "custom")
    assert patch.description == 'The input must match this Lark grammar:\n\nstart: "a"'
    for tool in (plain, patch):
        assert tool.schema["required"] == ["input"]
        assert tool.schema["properties"]["input"]["type"] == "string"


def test_an_earlier_call_of_a_custom_tool_is_read() -> None:
    call = {"id": "t1", "type": "custom", "custom": {"name": "patch", "input": "***"}}
    found = decoded(
        {"role": "user", "content": "Go"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "Done."},
    )

    assert found.messages[1].content == (ToolCall("t1", "patch", {"input": "***"}),)
    assert found.messages[2].content == (ToolResult("t1", (Text("Done."),)),)


def test_pictures_and_files_travel_as_what_they_are() -> None:
    found = decoded(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See."},
                {"type": "image_url", "image_url": {"url": PNG}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
                },
                {"type": "file", "file": {"filename": "b.csv", "file_data": "aGk="}},
                {"type": "file", "file": {"file_data": "data:text/plain;charset=utf-8;base64,aGk="}},
            ],
        }
    )

    assert found.messages[0].content == (
        Text("See."),
        Image("png", "aGk="),
        Document("a.pdf", "pdf", "aGk="),
        Document("b.csv", "csv", "aGk="),
        Document("document", "txt", "aGk="),
    )


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://user:pass@host.example/a.png?key=x"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ],
    ids=lambda part: part["type"],
)
def test_what_cannot_travel_leaves_a_note_without_secrets(part: dict[str, Any]) -> None:
    [note] = decoded({"role": "user", "content": [part]}).messages[0].content

    assert isinstance(note, Text)
    assert "left out" in note.text
    assert "pass" not in note.text
    assert "key=x" not in note.text


def test_settings_are_read() -> None:
    found = decoded(
        tools=[
            {"type": "function", "function": {"name": "read", "description": "R", "parameters": None}},
            {"type": "image_generation"},
        ],
        tool_choice="none",
        reasoning_effort="high",
        stop="END",
        stream=True,
        stream_options={"include_usage": True},
        prompt_cache_key="key",
        temperature=0.5,
        unknown={"a": 1},
    )

    assert [(tool.name, tool.schema["type"]) for tool in found.tools] == [("read", "object")]
    assert "image_generation" in found.system[-1]
    assert (found.tool_choice, found.thinking) == (ToolChoice("none"), Thinking(effort="high"))
    assert (found.stop_sequences, found.session) == (("END",), "key")
    assert (found.stream, found.usage_in_stream) == (True, True)


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        ("auto", ToolChoice()),
        ("required", ToolChoice("required")),
        ({"type": "function", "function": {"name": "read"}}, ToolChoice("required", ("read",))),
        ({"type": "custom", "custom": {"name": "patch"}}, ToolChoice("required", ("patch",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "read"}},
                        {"type": "custom", "custom": {"name": "patch"}},
                        {"type": "x"},
                    ],
                },
            },
            ToolChoice("required", ("read", "patch", "x")),
        ),
        (None, ToolChoice()),
    ],
)
def test_tool_choice_is_read(choice: Any, read: ToolChoice) -> None:
    assert decoded(tool_choice=choice).tool_choice == read


def test_a_session_s_header_counts_over_the_cache_key() -> None:
    assert decoded(headers={"x-session-id": "s"}, prompt_cache_key="key").session == "s"


def test_effort_none_asks_for_no_reasoning_and_silence_for_nothing() -> None:
    assert decoded(reasoning_effort="none").thinking == Thinking(enabled=False)
    assert decoded().thinking is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("modalities", ["text", "audio"]),
        ("response_format", {"type": "grammar", "grammar": "a+"}),
        ("response_format", "json"),
        ("tool_choice", 5),
        ("functions", [{"name": "f"}]),
        ("messages", []),
        ("messages", [{"role": "oracle", "content": "Hi"}]),
        ("messages", [{"content": "Hi"}]),
        ("messages", [5]),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(field: str, value: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], field: value}
    with pytest.raises(TurnFailed) as raised:
        openai_chat.decode(json.dumps(body).encode(), {})

    assert raised.value.failure.code == "KA-REQUEST"
    assert f"`{field}" in raised.value.failure.message


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_a_conversation_or_a_refusal(body: bytes) -> None:
    with pytest.raises(TurnFailed):
        openai_chat.decode(body, {})


# ----------------------------------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end", "stop"),
        ("tool_calls", "tool_calls"),
        ("length", "length"),
        ("stop_sequence", "stop"),
        ("content_filter", "content_filter"),
    ],
)
def test_each_ending_has_its_finish_reason(reason: StopReason, word: str) -> None:
    end = Finished(reason, USAGE)
    stream, done = chunks([TextDelta("Hi")], [end])

    assert stream[-1]["choices"][0]["finish_reason"] == word
    assert done
    assert whole(TextDelta("Hi"), end)["choices"][0]["finish_reason"] == word


def test_parallel_calls_keep_ids_and_order_with_indexes_from_zero() -> None:
    stream, _ = chunks([*CALLS, Finished("tool_calls", USAGE)])
    deltas = [call for chunk in stream for call in chunk["choices"][0]["delta"].get("tool_calls", ())]

    assert [(call["index"], call["id"], call["function"]["name"]) for call in deltas] == [
        (0, "t1", "read"),
        (1, "t2", "write"),
    ]
    message = whole(*CALLS, Finished("tool_calls", USAGE))["choices"][0]["message"]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a":1}', "{}"]


def test_what_an_assistant_would_not_say_is_kept() -> None:
    said = {"role": "assistant", "content": None, "refusal": "I will not."}
    assert decoded(USER, said).messages[1].content == (Text("I will not."),)


CUSTOM = Conversation(model="m", messages=(), tools=(Tool("patch", "", {}, kind="custom"),))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input": "a \\"b\\"\\n\\u00e9"}', 'a "b"\né'),
        ('{"input": ""}', ""),
        ('{"input": 1}', '{"input": 1}'),
        ('{"input": "a", "more": 1}', '{"input": "a", "more": 1}'),
        ("{}", "{}"),
    ],
)
def test_a_call_of_a_custom_tool_is_handed_over_as_its_text(arguments: str, text: str) -> None:
    said = [CallReady("t1", "read", "{}"), CallReady("t2", "patch", arguments), Finished("tool_calls", USAGE)]
    custom = {"id": "t2", "type": "custom", "custom": {"name": "patch", "input": text}}
    function = {"id": "t1", "type": "function", "function": {"name": "read", "arguments": "{}"}}

    stream, _ = chunks(said, conversation=CUSTOM)
    reply = whole(*said, conversation=CUSTOM)
    of_openai("chat.ChatCompletion", reply)

    # The SDK's types know no streamed custom call; what it reads has the fields of the whole one.
    deltas = [call for chunk in stream for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert deltas == [{"index": 0, **function}, {"index": 1, **custom}]
    assert reply["choices"][0]["message"]["tool_calls"] == [function, custom]


def test_usage_comes_in_a_chunk_of_its_own_when_it_was_asked_for_and_not_otherwise() -> None:
    wanted = Conversation(model="m", messages=(), usage_in_stream=True)
    last = chunks([TextDelta("Hi"), END], conversation=wanted)[0][-1]

    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    assert all(chunk["choices"] for chunk in chunks([TextDelta("Hi"), END])[0])


def test_cache_figures_appear_only_if_the_service_sent_them() -> None:
    cached = Usage(Figure(100, "measured"), Figure(20, "measured"), cache_read=40)

    assert whole(Finished("end", cached))["usage"]["prompt_tokens_details"] == {"cached_tokens": 40}
    assert "prompt_tokens_details" not in whole(END)["usage"]


def test_reasoning_is_a_field_of_its_own_and_hidden_when_the_client_wants_it_hidden() -> None:
    events: list[ReplyEvent] = [ReasoningDelta("Hm."), ReasoningSigned("s"), TextDelta("Hi"), END]

    assert whole(*events)["choices"][0]["message"]["reasoning_content"] == "Hm."
    assert chunks(events)[0][1]["choices"][0]["delta"] == {"reasoning_content": "Hm."}
    assert "Hm." not in json.dumps(whole(*events, conversation=HIDDEN))
    assert "Hm." not in json.dumps(chunks(events, conversation=HIDDEN))


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_reply_that_breaks_off_ends_with_an_error_and_is_never_done(code: str) -> None:
    failed = Failed(Failure(code=code, message="It broke off."), USAGE)
    stream, done = chunks([TextDelta("Hi")], [failed])

    assert f"It broke off ({code})." in stream[-1]["error"]["message"]
    assert not done
    with pytest.raises(TurnFailed):
        whole(TextDelta("Hi"), failed)


texts = st.text(min_size=1, max_size=20)
events = st.lists(
    st.one_of(
        texts.map(TextDelta),
        texts.map(ReasoningDelta),
        texts.map(ReasoningSigned),
        st.builds(CallReady, texts, texts, st.just("{}")),
        st.builds(Citation, texts, texts, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
    ),
    max_size=12,
)


@given(events, st.sampled_from([END, Finished("tool_calls", USAGE)]), st.integers(0, 12))
def test_a_stream_and_a_whole_reply_say_the_same_to_the_official_sdk(
    said: list[ReplyEvent], end: Finished, cut: int
) -> None:
    stream, done = chunks(said[:cut], [*said[cut:], end])
    parts = [of_openai("chat.ChatCompletionChunk", chunk) for chunk in stream]
    reply = of_openai("chat.ChatCompletion", whole(*said, end))
    message = reply.choices[0].message

    assert done
    assert "".join(part.choices[0].delta.content or "" for part in parts) == (message.content or "")
    streamed = [call.id for part in parts for call in part.choices[0].delta.tool_calls or ()]
    assert streamed == [call.id for call in message.tool_calls or ()]
    sources = [source for chunk in stream for source in chunk["choices"][0]["delta"].get("annotations", ())]
    assert sources == [source.model_dump() for source in message.annotations or ()]
    assert parts[-1].choices[0].finish_reason == reply.choices[0].finish_reason


def test_a_reply_sent_back_is_read_as_what_was_said() -> None:
    reply = whole(ReasoningDelta("Hm."), TextDelta("Hi"), *CALLS, Finished("tool_calls", USAGE))
    found = decoded({"role": "user", "content": "Go"}, reply["choices"][0]["message"])

    assert found.messages[1].content == (
        Reasoning("Hm."),
        Text("Hi"),
        ToolCall("t1", "read", {"a": 1}),
        ToolCall("t2", "write", {}),
    )
