"""Requests of the Anthropic Messages API become conversations."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    Conversation,
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WebSearch,
)
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.surfaces.anthropic import messages as anthropic

HELLO = [{"role": "user", "content": "Hello"}]
BASE64 = {"type": "base64", "data": "QUJD"}
SCHEMA = {"type": "object", "properties": {}}


def decode(headers: Mapping[str, str] | None = None, **fields: Any) -> Conversation:
    body = {"model": "claude-sonnet-4.6", "messages": HELLO, **fields}
    return anthropic.decode(json.dumps(body).encode(), headers or {})


def refusal(body: bytes) -> str:
    with pytest.raises(TurnFailed) as refused:
        anthropic.decode(body, {})
    assert refused.value.failure.code == "KA-REQUEST"
    return refused.value.failure.message


def read_or_refused(body: bytes) -> Conversation | Failure:
    try:
        return anthropic.decode(body, {})
    except TurnFailed as refused:
        failure = refused.failure
    assert failure.code == "KA-REQUEST"
    return failure


def test_a_minimal_request() -> None:
    assert decode() == Conversation(
        model="claude-sonnet-4.6", messages=(Message("user", (Text("Hello"),)),), stream=False
    )


# As the programs send them, shortened; see the client's name.
OPENCODE = {
    "model": "claude-sonnet-4.6",
    "max_tokens": 48000,
    "temperature": 1,
    "thinking": {"type": "enabled", "budget_tokens": 16000},
    "system": [{"type": "text", "text": "You are OpenCode.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Read a.png"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "tool_use", "id": "t1", "name": "read", "input": {"filePath": "a.png"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [
                        {"type": "text", "text": "Image read"},
                        {"type": "image", "source": {**BASE64, "media_type": "image/png"}},
                    ],
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ],
    "tools": [
        {"name": "read", "description": "Reads.", "input_schema": SCHEMA, "eager_input_streaming": True}
    ],
    "tool_choice": {"type": "auto"},
    "stream": True,
}
CLAUDE_CODE = {
    "model": "auto",
    "max_tokens": 32000,
    "thinking": {"type": "adaptive", "display": "omitted"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": '{"device_id": "d", "account_uuid": "", "session_id": "5e55"}'},
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.331.c8c;"},
        {"type": "text", "text": "You are a Claude agent."},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Find it"}]},
        {"role": "system", "content": "Reminders", "output_config": {"effort": "low"}},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "ToolSearch", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "tool_reference", "tool_name": "WebSearch"}],
                },
                {"type": "text", "text": "Tool loaded."},
            ],
        },
        {"role": "system", "content": [{"type": "text", "text": "<total_tokens>"}]},
    ],
    "tools": [
        {"name": "DeferredToolPlaceholder", "input_schema": SCHEMA, "defer_loading": True},
        {"name": "WebSearch", "description": "Searches.", "input_schema": SCHEMA, "defer_loading": True},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        {"type": "mcp_toolset", "mcp_server_name": "files"},
    ],
    "stream": True,
}


def test_what_opencode_sends() -> None:
    found = anthropic.decode(json.dumps(OPENCODE).encode(), {"x-session-affinity": "ses_1"})

    assert found == Conversation(
        model="claude-sonnet-4.6",
        messages=(
            Message("user", (Text("Read a.png"),)),
            Message("assistant", (Reasoning("Hm.", "c2ln"), ToolCall("t1", "read", {"filePath": "a.png"}))),
            Message("user", (ToolResult("t1", (Text("Image read"), Image("png", "QUJD"))),)),
        ),
        system=("You are OpenCode.",),
        tools=(Tool("read", "Reads.", SCHEMA),),
        thinking=Thinking(budget=16000),
        max_output=48000,
        session="ses_1",
        stream=True,
    )


def test_what_claude_code_sends() -> None:
    found = anthropic.decode(json.dumps(CLAUDE_CODE).encode(), {})

    assert found == Conversation(
        model="auto",
        messages=(
            Message("user", (Text("Find it"),)),
            Message("system", (Text("Reminders"),)),
            Message("assistant", (ToolCall("t1", "ToolSearch", {}),)),
            Message(
                "user",
                (ToolResult("t1", (Text("Tool WebSearch is available."),)), Text("Tool loaded.")),
            ),
            Message("system", (Text("<total_tokens>"),)),
        ),
        system=("You are a Claude agent.", found.system[-1]),
        tools=(Tool("WebSearch", "Searches.", SCHEMA), *found.tools[1:]),
        web_search=WebSearch(name="web_search", max_uses=8),
        not_offered=("mcp_toolset (files)",),
        thinking=Thinking(effort="low", visible=False),  # what the instruction between the turns says
        max_output=32000,
        session="5e55",
        stream=True,
    )
    assert [tool.name for tool in found.tools[1:]] == ["web_search"]
    assert "mcp_toolset (files)" in found.system[-1]


FIELDS = [
    pytest.param({"system": "Be brief."}, "system", ("Be brief.",), id="system as text"),
    pytest.param({"system": " "}, "system", (), id="blank system"),
    pytest.param({"system": None}, "system", (), id="no system"),
    pytest.param({"stop_sequences": ["END"]}, "stop_sequences", ("END",), id="stop sequences"),
    pytest.param({"stream": None}, "stream", False, id="stream null"),
    pytest.param({"tool_choice": {"type": "auto"}}, "tool_choice", ToolChoice(), id="choice auto"),
    pytest.param({"tool_choice": {"type": "any"}}, "tool_choice", ToolChoice("required"), id="choice any"),
    pytest.param({"tool_choice": {"type": "none"}}, "tool_choice", ToolChoice("none"), id="choice none"),
    pytest.param(
        {"tool_choice": {"type": "tool", "name": "x"}},
        "tool_choice",
        ToolChoice("required", ("x",)),
        id="choice tool",
    ),
    pytest.param(
        {"tool_choice": {"type": "tool"}}, "tool_choice", ToolChoice("required"), id="choice of any tool"
    ),
    pytest.param({}, "thinking", None, id="thinking unsaid"),
    pytest.param(
        {"thinking": {"type": "disabled"}}, "thinking", Thinking(enabled=False), id="thinking disabled"
    ),
    pytest.param({"thinking": {"type": "adaptive"}}, "thinking", Thinking(), id="thinking adaptive"),
    pytest.param(
        {"thinking": {"type": "enabled", "budget_tokens": 9, "display": "updates"}},
        "thinking",
        Thinking(budget=9),
        id="thinking with updates",
    ),
    pytest.param({"output_config": {"effort": "low"}}, "thinking", Thinking(effort="low"), id="effort alone"),
    pytest.param(
        {"output_config": {"format": {"type": "json_schema"}}}, "thinking", None, id="output format alone"
    ),
    pytest.param(
        {"system": [{"type": "image", "source": {**BASE64, "media_type": "image/png"}}]},
        "messages",
        (Message("system", (Image("png", "QUJD"),)), Message("user", (Text("Hello"),))),
        id="a picture among the instructions",
    ),
    pytest.param({"thread": None}, "model", "claude-sonnet-4.6", id="thread null"),
    pytest.param(
        {"temperature": 0.5, "top_k": 1, "betas": ["x"], "container": {}, "new": [1]},
        "messages",
        (Message("user", (Text("Hello"),)),),
        id="fields without a meaning here",
    ),
]


@pytest.mark.parametrize(("fields", "name", "value"), FIELDS)
def test_fields(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(decode(**fields), name) == value


def text(words: str) -> tuple[Text]:
    return (Text(words),)


BLOCKS = [
    pytest.param({"type": "text", "text": "x", "citations": []}, text("x"), id="text"),
    pytest.param(
        {"type": "image", "source": {**BASE64, "media_type": "image/webp"}},
        (Image("webp", "QUJD"),),
        id="image",
    ),
    pytest.param(
        {"type": "image", "source": {"type": "url", "url": "https://me:key@pics.example/a/b?token=1"}},
        text("[The image at pics.example was left out: this gateway fetches nothing.]"),
        id="image at an address",
    ),
    pytest.param(
        {"type": "image", "source": {"type": "url", "url": "nonsense"}},
        text("[The image at an address was left out: this gateway fetches nothing.]"),
        id="image at no real address",
    ),
    pytest.param(
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        text("[The document was left out: it is kept elsewhere, and this gateway fetches nothing.]"),
        id="file kept elsewhere",
    ),
    pytest.param(
        {"type": "document", "title": "a.pdf", "source": {**BASE64, "media_type": "application/pdf"}},
        (Document("a.pdf", "pdf", "QUJD"),),
        id="pdf",
    ),
    pytest.param(
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
        (Document("document", "txt", base64.b64encode("é".encode()).decode()),),
        id="text document",
    ),
    pytest.param(
        {
            "type": "document",
            "source": {
                "type": "content",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image", "source": {**BASE64, "media_type": "image/png"}},
                ],
            },
        },
        (Text("x"), Image("png", "QUJD")),
        id="document of blocks",
    ),
    pytest.param({"type": "thinking", "thinking": "x"}, (Reasoning("x"),), id="unsigned thinking"),
    pytest.param(
        {"type": "redacted_thinking", "data": "QUJD"}, (RedactedReasoning("QUJD"),), id="redacted thinking"
    ),
    pytest.param(
        {"type": "tool_use", "id": "t", "name": "n"}, (ToolCall("t", "n", {}),), id="call, no input"
    ),
    pytest.param(
        {"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": True},
        (ToolResult("t", (Text("x"),), is_error=True),),
        id="failed call",
    ),
    pytest.param({"type": "tool_result", "tool_use_id": "t"}, (ToolResult("t", ()),), id="empty result"),
    pytest.param(
        {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [
                {
                    "type": "search_result",
                    "title": "T",
                    "source": "https://x",
                    "content": [{"type": "text", "text": "x"}],
                },
                {"type": "document", "title": "a", "source": {**BASE64, "media_type": "application/pdf"}},
            ],
        },
        (ToolResult("t", (Text("T\nhttps://x\nx"), Document("a", "pdf", "QUJD"))),),
        id="search result and document in a result",
    ),
    pytest.param(
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "cats"}},
        (ToolCall("s", "web_search", {"query": "cats"}),),
        id="tool of the server",
    ),
    pytest.param(
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [
                {"type": "web_search_result", "title": "Cats", "url": "https://c", "encrypted_content": "x"}
            ],
        },
        (ToolResult("s", text("1. Cats\nhttps://c")),),
        id="its result",
    ),
    pytest.param(
        {"type": "compaction", "content": "So far"}, text("So far"), id="a summary of earlier turns"
    ),
    pytest.param(
        {"type": "container_upload", "file_id": "f"},
        text('A part of the type container_upload:\n{"type": "container_upload", "file_id": "f"}'),
        id="unknown",
    ),
]


@pytest.mark.parametrize(("block", "blocks"), BLOCKS)
def test_blocks(block: dict[str, Any], blocks: tuple[object, ...]) -> None:
    found = decode(messages=[{"role": "user", "content": [block]}])

    assert found.messages == (Message("user", blocks),)


# ------------------------------------------------------------------------------------ instructions


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize(
    "content", ["Be brief.", [{"type": "text", "text": "Be brief."}]], ids=["text", "blocks"]
)
def test_an_instruction_between_turns_stands_in_its_place(role: str, content: Any) -> None:
    after = [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Go on"}]

    found = decode(messages=[*HELLO, {"role": role, "content": content}, *after])

    assert [message.role for message in found.messages] == ["user", "system", "assistant", "user"]
    assert found.messages[1].content == text("Be brief.")


def effort(word: Any, **more: Any) -> dict[str, Any]:
    """The mark that OpenCode 2.x makes where the effort changed."""
    return {"role": "system", "content": [], "output_config": {"effort": word}, **more}


EFFORTS = [
    pytest.param([effort("high")], "low", "high", id="over the request's own"),
    pytest.param([effort("high")], None, "high", id="where the request says none"),
    pytest.param([effort("high"), effort("medium")], "low", "medium", id="the last of several"),
    pytest.param([effort("max", content="Be brief.")], "low", "max", id="beside words"),
    pytest.param([effort("max", role="developer")], "low", "max", id="of a developer"),
    pytest.param([effort("high"), effort(None)], "low", "high", id="none is no change"),
    pytest.param([effort("high", role="user")], "low", "low", id="a user sets none"),
    pytest.param([{"role": "system", "content": "", "output_config": "x"}], "low", "low", id="of odd form"),
    pytest.param([], "low", "low", id="unchanged"),
]


@pytest.mark.parametrize(("marks", "own", "now"), EFFORTS)
def test_the_effort_that_was_set_last_counts(marks: list[Any], own: str | None, now: str) -> None:
    after = [{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Go on"}]

    found = decode(messages=[*HELLO, *marks, *after], output_config={"effort": own})

    assert found.thinking == Thinking(effort=now)


def test_a_changed_effort_does_not_switch_reasoning_on_again() -> None:
    found = decode(messages=[*HELLO, effort("high")], thinking={"type": "disabled"})

    assert found.thinking == Thinking(enabled=False, effort="high")


@pytest.mark.parametrize("content", ["", []], ids=["text", "blocks"])
def test_an_instruction_without_words_is_no_turn(content: Any) -> None:
    assert decode(messages=[*HELLO, effort("high", content=content)]).messages == decode().messages


# ---------------------------------------------------------------------------------------- sessions

SESSIONS = [
    pytest.param({"x-session-affinity": "a", "x-session-id": "b"}, "m", "a", id="OpenCode"),
    pytest.param({"x-claude-code-session-id": "c"}, "m", "c", id="Claude Code"),
    pytest.param({"x-session-id": "b"}, "m", "b", id="OpenCode, older"),
    pytest.param({"x-session-id": ""}, "m", "m", id="empty header"),
    pytest.param({}, '{"session_id": "s"}', "s", id="JSON with a session"),
    pytest.param({}, '{"device_id": "s"}', '{"device_id": "s"}', id="JSON without a session"),
    pytest.param({}, "[" * 256, "[" * 256, id="nested without end"),
    pytest.param({}, "s" * 257, sha256(b"s" * 257).hexdigest(), id="long"),
    pytest.param({"x-session-id": "s" * 257}, "m", sha256(b"s" * 257).hexdigest(), id="long header"),
    pytest.param({}, "17", "17", id="a number"),
    pytest.param({}, None, None, id="nothing"),
]


@pytest.mark.parametrize(("headers", "user_id", "session"), SESSIONS)
def test_the_session_is_what_the_client_calls_it(
    headers: dict[str, str], user_id: str | None, session: str | None
) -> None:
    assert decode(headers, metadata={"user_id": user_id}).session == session


# ---------------------------------------------------------------------------------------- refusals

REFUSED = [
    pytest.param({"model": None}, "`model`", id="model null"),
    pytest.param({"messages": []}, "`messages` is empty", id="no messages"),
    pytest.param({"messages": [1]}, "`messages.0` must be an object", id="message a number"),
    pytest.param({"messages": [{"content": "Hi"}]}, "`messages.0.role` is missing", id="no role"),
    pytest.param({"messages": [{"role": "pope", "content": ""}]}, "`messages.0.role` is 'pope'", id="role"),
    pytest.param({"tools": [{"input_schema": {}}]}, "`tools.0.name` is missing", id="tool without a name"),
    pytest.param({"thread": {"type": "create"}}, "`thread` is not supported", id="thread"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED)
def test_a_refusal_names_the_field(fields: dict[str, Any], words: str) -> None:
    assert words in refusal(json.dumps({"model": "x", "messages": HELLO, **fields}).encode())


UNREADABLE = [
    pytest.param(b"", "cannot be read", id="empty"),
    pytest.param(b"{", "cannot be read", id="half"),
    pytest.param(b"[]", "Expected `object`", id="a list"),
    pytest.param(b'{"messages": []}', "required field `model`", id="no model"),
    pytest.param(b'{"model": "x"}', "required field `messages`", id="no messages"),
    pytest.param(b'{"model": "\xff"}', "cannot be read", id="not UTF-8"),
    pytest.param(b'{"x": ' + b"[" * 100_000, "nested too deeply", id="nested without end"),
]


@pytest.mark.parametrize(("body", "words"), UNREADABLE)
def test_what_cannot_be_read_is_refused(body: bytes, words: str) -> None:
    assert words in refusal(body)


@pytest.mark.parametrize("depth", [100, 300, 450, 600, 900, 2000])
def test_deep_nesting_is_read_or_refused(depth: int) -> None:
    """What a page of the web says is collected at any depth that could be decoded."""
    content = '{"type":"search_result","content":[' * depth + '"deep"' + "]}" * depth
    body = f'{{"model":"x","messages":[{{"role":"user","content":[{content}]}}]}}'.encode()
    match read_or_refused(body):
        case Conversation(messages=(message,)):
            assert message.content == text("deep")
        case Failure(message=said):
            assert "nested too deeply" in said


HALVES = [
    pytest.param(rb"cut \ud83d", "cut �", id="first half at the end"),
    pytest.param(rb"\uD83D and on", "� and on", id="first half"),
    pytest.param(rb"\ude00 on", "� on", id="second half"),
    pytest.param(rb"\ud83d\ud83d\ude00", "�😀", id="a half before a whole one"),
    pytest.param(rb"\\ud83d \ud83d", "\\ud83d �", id="written out, and a half"),
]


@pytest.mark.parametrize(("raw", "read"), HALVES)
def test_half_a_character_is_replaced(raw: bytes, read: str) -> None:
    """A cut through an emoji in a tool's output would otherwise block the session for good."""
    body = b'{"model":"x","messages":[{"role":"user","content":"%b"}]}' % raw

    assert anthropic.decode(body, {}).messages[0].content == text(read)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "source", "id", "name", "input", "role"]),
            inner
            | st.sampled_from(["text", "image", "document", "tool_use", "tool_result", "base64", "url"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {
            "model": st.just("x"),
            "messages": st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from(["user", "system", "developer"]), "content": json_values},
                    optional={"output_config": json_values},
                )
            ),
        },
        optional=dict.fromkeys(("system", "tools", "tool_choice", "thinking", "metadata"), json_values),
    )
)
def test_any_json_is_read_or_refused(body: dict[str, Any]) -> None:
    read_or_refused(json.dumps(body).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    read_or_refused(body)


# ---------------------------------------------------------------------------------------- counting


def test_a_request_to_count_says_nothing_of_the_answer() -> None:
    body = json.dumps({"model": "x", "messages": HELLO, "system": "Be brief."}).encode()

    found = anthropic.decode_count(body, {})

    assert found.system == ("Be brief.",)
    assert json.loads(anthropic.encode_count(17)) == {"input_tokens": 17}
