"""OpenAI's own tools that the client runs: their calls are items of their own types, and are read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    CallReady,
    Conversation,
    Finished,
    SearchBegun,
    SearchEnded,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    WebPage,
)
from kiro_auth.reply_usage import Figure, Usage
from kiro_auth.surfaces.openai import chat as openai_chat
from kiro_auth.surfaces.openai import responses as openai_responses
from kiro_auth.surfaces.openai.responses_own_calls import own_call
from support.sdks import of_openai

USAGE = Usage(Figure(50, "measured"), Figure(5, "measured"))
END = Finished("tool_calls", USAGE)
ASKED = openai_responses.decode(
    json.dumps(
        {
            "model": "m",
            "input": "Tidy up.",
            "tools": [
                {"type": "shell"},
                {"type": "local_shell"},
                {"type": "apply_patch"},
                {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
            ],
        }
    ).encode(),
    {},
)
CALLS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    (
        "shell",
        {"commands": ["pwd", "ls"], "timeout_ms": 900},
        "action",
        {"commands": ["pwd", "ls"], "timeout_ms": 900},
    ),
    (
        "local_shell",
        {"command": ["ls", "-a"], "working_directory": "/srv"},
        "action",
        {"type": "exec", "command": ["ls", "-a"], "env": {}, "working_directory": "/srv"},
    ),
    (
        "apply_patch",
        {"type": "create_file", "path": "a.md", "diff": "+A"},
        "operation",
        {"type": "create_file", "path": "a.md", "diff": "+A"},
    ),
    (
        "apply_patch",
        {"type": "delete_file", "path": "a.md"},
        "operation",
        {"type": "delete_file", "path": "a.md"},
    ),
    ("tool_search", {"query": "files"}, "arguments", {"query": "files"}),
]


def whole(*events: Any, asked: Conversation = ASKED) -> dict[str, Any]:
    writer = openai_responses.whole_encoder(asked, reply_id="ab", created=7, input_tokens=1)
    reply: dict[str, Any] = json.loads(writer.encode(events))
    of_openai("responses.Response", reply)
    return reply


def streamed(*events: Any, asked: Conversation = ASKED) -> list[dict[str, Any]]:
    writer = openai_responses.stream_encoder(asked, reply_id="ab", created=7, input_tokens=1)
    lines = writer.encode(events).splitlines()
    found = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
    for each in found:
        of_openai("responses.ResponseStreamEvent", each)
    return found


def sent_back(items: list[dict[str, Any]]) -> Conversation:
    body = {"model": "m", "input": [{"role": "user", "content": "Tidy up."}, *items]}
    return openai_responses.decode(json.dumps(body).encode(), {})


@pytest.mark.parametrize(("name", "arguments", "field", "held"), CALLS)
def test_a_call_is_an_item_of_the_tool_s_own_type_and_is_read_back(
    name: str, arguments: dict[str, Any], field: str, held: dict[str, Any]
) -> None:
    call = CallReady("c-7", name, json.dumps(arguments))
    [item] = whole(call, END)["output"]

    assert (item["type"], item["call_id"], item["status"]) == (f"{name}_call", "c-7", "completed")
    assert item[field] == held
    [_, _, added, done, completed] = streamed(call, END)
    assert (added["item"]["status"], done["item"], completed["response"]["output"]) == (
        "in_progress",
        item,
        [item],
    )
    [_, turn] = sent_back([item]).messages
    [read] = turn.content
    assert isinstance(read, ToolCall)
    assert (read.id, read.name, turn.role) == ("c-7", name, "assistant")
    assert arguments.items() <= read.input.items()


OUTPUTS = [
    (
        {
            "type": "shell_call_output",
            "call_id": "c-7",
            "output": [{"stdout": "a.md", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
        "a.md",
        False,
    ),
    ({"type": "local_shell_call_output", "id": "lsh_c-7", "output": '{"stdout": "a.md"}'}, "a.md", False),
    ({"type": "local_shell_call_output", "id": "c-7", "output": "a.md"}, "a.md", False),
    ({"type": "local_shell_call_output", "call_id": "c-7", "id": "x", "output": "a.md"}, "a.md", False),
    ({"type": "apply_patch_call_output", "call_id": "c-7", "status": "completed"}, "", False),
    (
        {"type": "apply_patch_call_output", "call_id": "c-7", "status": "failed", "output": "No such."},
        "No such.",
        True,
    ),
]


@pytest.mark.parametrize(("item", "words", "failed"), OUTPUTS)
def test_what_came_of_a_call_is_its_result(item: dict[str, Any], words: str, failed: bool) -> None:
    [_, turn] = sent_back([item]).messages
    [result] = turn.content

    assert isinstance(result, ToolResult)
    assert (turn.role, result.call_id, result.is_error) == ("user", "c-7", failed)
    [text] = result.content
    assert isinstance(text, Text)
    assert words in text.text


@pytest.mark.parametrize("kind", [[], {}, [["function_call"]], 5, None])
def test_an_item_whose_type_is_no_text_breaks_nothing(kind: Any) -> None:
    assert own_call({"type": kind, "call_id": "gone", "output": []}) is None


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
fields = st.sampled_from(
    ["command", "commands", "env", "timeout_ms", "type", "path", "diff", "operation", "user", "query"]
)


@given(
    st.sampled_from(["shell", "local_shell", "apply_patch", "tool_search"]),
    st.dictionaries(fields, values, max_size=4),
)
def test_a_call_that_keeps_to_no_schema_is_still_an_item_that_the_sdk_reads(
    name: str, arguments: dict[str, Any]
) -> None:
    call = CallReady("c-7", name, json.dumps(arguments))
    [item] = whole(call, END)["output"]

    assert streamed(call, END)[-1]["response"]["output"] == [item]
    assert item["type"] == f"{name}_call"


def test_the_first_of_two_tools_of_a_name_says_what_its_calls_are() -> None:
    asked = Conversation(model="m", messages=(), tools=(Tool("shell", "", {}), ASKED.tools[0]))
    [item] = whole(CallReady("c", "shell", "{}"), END, asked=asked)["output"]

    assert item["type"] == "function_call"


# ------------------------------------------------------------------------------- the web's search

PAGES = (WebPage("https://a.example/x", "A", "Of A."), WebPage("https://b.example", "B"))
BEGUN = SearchBegun("t-1", "rain today")


def test_a_search_is_an_item_and_its_addresses_are_read_back() -> None:
    told = [TextDelta("Let me see."), BEGUN, SearchEnded("t-1", "rain today", PAGES), TextDelta("Wet.")]
    [_, item, _] = whole(*told, Finished("end", USAGE))["output"]

    assert (item["type"], item["status"]) == ("web_search_call", "completed")
    assert item["action"]["query"] == "rain today"
    assert [source["url"] for source in item["action"]["sources"]] == [page.url for page in PAGES]
    assert streamed(*told, Finished("end", USAGE))[-1]["response"]["output"][1] == item
    [_, turn] = sent_back([item]).messages
    call, result = turn.content
    assert call == ToolCall("t-1", "web_search", {"query": "rain today"})
    assert isinstance(result, ToolResult)
    assert "https://a.example/x" in str(result.content)


def test_a_search_that_was_not_made_has_failed_and_stays_so() -> None:
    told = [BEGUN, SearchEnded("t-1", "rain today", fault="unavailable"), TextDelta("No idea.")]
    [item, _] = whole(*told, Finished("end", USAGE))["output"]
    types = [each["type"] for each in streamed(*told, Finished("end", USAGE))]

    assert item["status"] == "failed"
    assert "response.web_search_call.completed" not in types
    result = sent_back([item]).messages[1].content[1]
    assert isinstance(result, ToolResult)
    assert result.is_error


def test_searches_at_once_end_at_their_own_places() -> None:
    two = SearchBegun("t-2", "snow")
    ends = [SearchEnded("t-2", "snow"), SearchEnded("t-1", "rain today", PAGES)]
    events = streamed(BEGUN, two, *ends, TextDelta("So."), Finished("end", USAGE))
    done = [each for each in events if each["type"] == "response.output_item.done"]

    assert [each["output_index"] for each in done] == [1, 0, 2]
    assert events[-1]["response"]["output"] == [done[1]["item"], done[0]["item"], done[2]["item"]]


@pytest.mark.parametrize("fault", [None, "too_many_requests"])
def test_chat_completions_have_no_place_for_a_search_but_its_text(fault: Any) -> None:
    pages = () if fault else PAGES
    told = [TextDelta("Let me see."), BEGUN, SearchEnded("t-1", "rain today", pages, fault)]
    writer = openai_chat.whole_encoder(ASKED, reply_id="ab", created=7, input_tokens=1)
    reply = json.loads(writer.encode([*told, TextDelta("Wet."), Finished("end", USAGE)]))
    text = reply["choices"][0]["message"]["content"]

    assert text.startswith("Let me see.\n\n")
    assert text.endswith("Wet.")
    assert ("[The web was not searched: too_many_requests.]" in text) == (fault is not None)


@pytest.mark.parametrize(
    ("action", "query"),
    [
        ({"query": "rain", "queries": ["rain"]}, "rain"),
        ({"queries": ["rain", "snow"]}, "rain; snow"),
        ({"query": None, "queries": ["rain", 5]}, "rain"),
        ({"query": "", "queries": None}, ""),
        ({"query": ["rain"]}, ""),
    ],
)
def test_what_was_searched_for_is_read_wherever_a_client_keeps_it(action: Any, query: str) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", **action}}

    call = sent_back([search]).messages[1].content[0]

    assert call == ToolCall("1", "web_search", {"query": query})
