"""A history in another API's shape, or in none, is read as what it is; what nobody knows is kept as text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiro_auth.conversation import (
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat
from support.odd_requests import PATHS, PDF, PNG

ASKED = {"role": "user", "content": "Read it."}


def read(path: str, *turns: Any) -> tuple[Message, ...]:
    return conversation(path, *turns).messages


def conversation(path: str, *turns: Any) -> Conversation:
    body = {"model": "m", "input" if path == "/v1/responses" else "messages": [*turns]}
    return SURFACES[path].decode(json.dumps(body).encode(), {})


def sent(path: str, *turns: Any) -> list[dict[str, Any]]:
    """The turns as the service gets them, once it has taken them."""
    model = resolve("claude-opus-4-6", ()).model
    options = payload.Options(model=model, protocol="rest", origin="AI_EDITOR", profile_arn=None)
    body = json.loads(payload.build(conversation(path, *turns), options).body)
    check_chat(body, protocol="rest", models=MODELS)
    state = body["conversationState"]
    return [*state["history"], state["currentMessage"]]


def pairs(turns: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The name of each call and the words of its result, in their order."""
    names: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for turn in turns:
        calls = turn.get("assistantResponseMessage", {}).get("toolUses", ())
        names |= {call["toolUseId"]: call["name"] for call in calls}
        context = turn.get("userInputMessage", {}).get("userInputMessageContext", {})
        results = context.get("toolResults", ())
        found += [(names[result["toolUseId"]], result["content"][0]["text"]) for result in results]
    return found


# -------------------------------------------------------------------------------- shapes of each API

PARTS: list[Any] = [
    pytest.param({"type": "text", "text": "a"}, Text("a"), id="text"),
    pytest.param({"type": "input_text", "text": "a"}, Text("a"), id="text of Responses"),
    pytest.param({"type": "output_text", "text": "a"}, Text("a"), id="text of its answers"),
    pytest.param({"text": "a"}, Text("a"), id="text without a type"),
    pytest.param("a", Text("a"), id="a bare text"),
    pytest.param({"type": "refusal", "refusal": "No."}, Text("No."), id="refusal"),
    pytest.param(
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        Image("png", PNG),
        id="picture of Anthropic",
    ),
    pytest.param(
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        Image("png", PNG),
        id="picture of Chat",
    ),
    pytest.param(
        {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"},
        Image("png", PNG),
        id="picture of Chat, bare",
    ),
    pytest.param(
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        Image("png", PNG),
        id="picture of Responses",
    ),
    pytest.param({"type": "image", "data": PNG, "mimeType": "image/png"}, Image("png", PNG), id="of MCP"),
    pytest.param(
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        },
        Document("a.pdf", "pdf", PDF),
        id="file of Anthropic",
    ),
    pytest.param(
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        Document("a.pdf", "pdf", PDF),
        id="file of Chat",
    ),
    pytest.param(
        {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        Document("a.pdf", "pdf", PDF),
        id="file of Responses",
    ),
    pytest.param(
        {"type": "tool_use", "id": "t", "name": "read", "input": {"a": 1}},
        ToolCall("t", "read", {"a": 1}),
        id="call of Anthropic",
    ),
    pytest.param(
        {"type": "function_call", "id": "fc_1", "call_id": "t", "name": "read", "arguments": '{"a":1}'},
        ToolCall("t", "read", {"a": 1}),
        id="call of Responses",
    ),
    pytest.param(
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a"}]},
        ToolResult("t", (Text("a"),)),
        id="result of Anthropic",
    ),
    pytest.param(
        {"type": "function_call_output", "call_id": "t", "output": "a"},
        ToolResult("t", (Text("a"),)),
        id="result of Responses",
    ),
    pytest.param(
        {"type": "thinking", "thinking": "a", "signature": "s"}, Reasoning("a", "s"), id="reasoning"
    ),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
@pytest.mark.parametrize("path", PATHS)
def test_a_part_of_any_api_is_what_it_is_in_all(path: str, part: Any, block: Block) -> None:
    assert read(path, ASKED, {"role": "user", "content": [part]})[1].content == (block,)
    assert read(path, ASKED, {"role": "user", "content": part})[1].content == (block,)


NOT_UNDERSTOOD: list[Any] = [
    pytest.param({"type": "of_tomorrow", "value": 47}, "47", id="a type of tomorrow"),
    pytest.param({"type": "text", "text": {"deep": "47"}}, "47", id="a text that is none"),
    pytest.param({"value": "47"}, "47", id="no type"),
    pytest.param({"type": ["text"], "value": "47"}, "47", id="a type that is none"),
    pytest.param({"type": "tool_use", "id": "t", "input": {"a": "47"}}, "47", id="a call without a name"),
    pytest.param({"type": "thinking", "thinking": 47}, "47", id="reasoning that is none"),
    pytest.param(47, "47", id="a number"),
    pytest.param([47], "47", id="a list"),
    pytest.param({"type": "image"}, "image", id="a picture without data"),
    pytest.param({"type": "image", "source": {"type": "base64"}}, "left out", id="a picture that is empty"),
    pytest.param({"type": "image_url", "image_url": {"url": "data:x"}}, "left out", id="a broken address"),
    pytest.param({"type": "file", "file": {"filename": "47.txt"}}, "47.txt", id="a file that is elsewhere"),
    pytest.param({"type": "input_file", "file_data": "data:x"}, "left out", id="a file of a broken address"),
    pytest.param({"type": "input_audio", "input_audio": {"data": "QUJD"}}, "input_audio", id="sound"),
    pytest.param({"type": "video", "url": "https://x"}, "video", id="a film"),
]


@pytest.mark.parametrize(("part", "words"), NOT_UNDERSTOOD)
@pytest.mark.parametrize("path", PATHS)
def test_a_part_that_is_not_understood_is_kept_as_text(path: str, part: Any, words: str) -> None:
    for content in ([part], [{"type": "tool_result", "tool_use_id": "t", "content": [part]}]):
        [block] = read(path, ASKED, {"role": "user", "content": content})[1].content
        [kept] = block.content if isinstance(block, ToolResult) else [block]

        assert isinstance(kept, Text)
        assert words in kept.text


@pytest.mark.parametrize(
    "nothing", [None, "", [], {}, [None], [{}], {"type": "text"}, {"type": "text", "text": None}]
)
@pytest.mark.parametrize("path", PATHS)
def test_where_nothing_was_said_nothing_is_made_up(path: str, nothing: Any) -> None:
    turns = sent(
        path, ASKED, {"role": "assistant", "content": nothing}, {"role": "user", "content": "Go on."}
    )

    assert [turn["userInputMessage"]["content"] for turn in turns] == ["Read it.\n\nGo on."]


def test_long_data_is_not_read_as_words() -> None:
    part = {
        "type": "of_tomorrow",
        "data": "QUJD" * 1000,
        "url": f"data:image/png;base64,{PNG}",
        "title": "47",
    }
    [text] = read("/v1/messages", {"role": "user", "content": [part]})[0].content

    assert isinstance(text, Text)
    assert "47" in text.text
    assert len(text.text) < 200


# --------------------------------------------------------------------------------- whole messages


@pytest.mark.parametrize("path", PATHS)
def test_instructions_that_hold_a_picture_lose_neither_it_nor_their_words(path: str) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    instruction = {"role": "system", "content": [{"type": "text", "text": "Like this:"}, picture]}

    [turn] = sent(path, {"role": "system", "content": "Be brief."}, instruction, ASKED)

    assert turn["userInputMessage"]["content"] == "Be brief.\n\nLike this:\n\nRead it."
    assert turn["userInputMessage"]["images"][0]["source"]["bytes"] == PNG


@pytest.mark.parametrize("odd", [5, None, True, [], [ASKED]], ids=repr)
@pytest.mark.parametrize("path", PATHS)
def test_a_message_that_is_none_is_refused_by_name(path: str, odd: Any) -> None:
    field = "input" if path == "/v1/responses" else "messages"

    with pytest.raises(TurnFailed, match=f"`{field}.1` must be an object"):
        read(path, ASKED, odd)


RESULTS: list[Any] = [
    pytest.param({"role": "tool", "tool_call_id": "t1", "content": "A"}, id="of Chat"),
    pytest.param(
        {"role": "tool", "tool_call_id": "t1", "content": [{"type": "text", "text": "A"}]}, id="in parts"
    ),
    pytest.param(
        {"role": "tool", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "A"}]},
        id="of both",
    ),
    pytest.param(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "A"}]},
        id="of Messages",
    ),
    pytest.param({"type": "function_call_output", "call_id": "t1", "output": "A"}, id="of Responses"),
    pytest.param({"role": "function", "name": "read", "content": "A"}, id="of old"),
]
CALLS: list[Any] = [
    pytest.param(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "read", "arguments": "{}"}}],
        },
        id="of Chat",
    ),
    pytest.param(
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
        id="of Messages",
    ),
    pytest.param(
        {"type": "function_call", "call_id": "t1", "name": "read", "arguments": "{}"}, id="of Responses"
    ),
    pytest.param(
        {"role": "assistant", "content": None, "function_call": {"name": "read", "arguments": "{}"}},
        id="of old",
    ),
]


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("path", PATHS)
def test_a_call_of_any_api_and_a_result_of_any_other_belong_together(
    path: str, call: Any, result: Any
) -> None:
    assert pairs(sent(path, ASKED, call, result)) == [("read", "A")]


# ------------------------------------------------------------------------------------ missing ids

IDS: list[Any] = [{}, {"id": ""}, {"id": None}, {"id": []}]


def chat(ids: dict[str, Any], *names: str) -> dict[str, Any]:
    calls = [{**ids, "function": {"name": name, "arguments": "{}"}} for name in names]
    return {"role": "assistant", "tool_calls": calls}


def told(ids: dict[str, Any], words: str) -> dict[str, Any]:
    return {"role": "tool", "content": words, **{f"tool_call_{name}": id_ for name, id_ in ids.items()}}


@pytest.mark.parametrize("of_result", IDS, ids=json.dumps)
@pytest.mark.parametrize("of_call", IDS, ids=json.dumps)
@pytest.mark.parametrize("path", PATHS)
def test_calls_and_results_without_ids_belong_together_in_their_order(
    path: str, of_call: dict[str, Any], of_result: dict[str, Any]
) -> None:
    first = [chat(of_call, "read", "write"), told(of_result, "R"), told(of_result, "W")]
    then = [chat(of_call, "read"), told(of_result, "again")]

    turns = sent(path, ASKED, *first, *then, {"role": "user", "content": "Go on."})

    assert pairs(turns) == [("read", "R"), ("write", "W"), ("read", "again")]


@pytest.mark.parametrize("path", PATHS)
def test_ids_that_are_there_count_before_the_order(path: str) -> None:
    calls = {
        "role": "assistant",
        "tool_calls": [
            {"id": id_, "function": {"name": name, "arguments": "{}"}}
            for id_, name in (("t1", "read"), (None, "list"), ("t2", "write"))
        ],
    }

    turns = sent(path, ASKED, calls, told({"id": "t2"}, "W"), told({}, "R"), told({}, "L"))

    assert pairs(turns) == [("read", "R"), ("list", "L"), ("write", "W")]


@pytest.mark.parametrize("path", PATHS)
def test_a_number_is_an_id(path: str) -> None:
    turns = sent(path, ASKED, chat({"id": 7}, "read"), told({"id": "7"}, "R"))

    assert pairs(turns) == [("read", "R")]


@pytest.mark.parametrize("path", PATHS)
def test_a_result_that_fits_no_call_is_kept_as_text(path: str) -> None:
    turns = sent(
        path, ASKED, chat({"id": "t1"}, "read"), told({"id": "t9"}, "LATE-47"), told({}, "R"), told({}, "X")
    )
    words = turns[-1]["userInputMessage"]["content"]

    assert pairs(turns) == [("read", "R")]
    assert "Result of an earlier tool call (t9):\n\nLATE-47" in words
    assert "Result of an earlier tool call:\n\nX" in words


ELSEWHERE: list[Any] = [
    pytest.param({"role": "user", "parts": [{"text": "W-47"}]}, id="a message in parts"),
    pytest.param({"role": "assistant", "content": None, "text": "W-47"}, id="words beside no content"),
    pytest.param({"role": "tool", "tool_call_id": "t1", "value": "W-47"}, id="a result of its own kind"),
    pytest.param({"type": "function_call_output", "result": {"out": "W-47"}}, id="an item of its own kind"),
]


@pytest.mark.parametrize("odd", ELSEWHERE)
@pytest.mark.parametrize("path", PATHS)
def test_what_stands_where_no_api_has_it_is_kept_where_nothing_else_was_said(path: str, odd: Any) -> None:
    assert json.dumps(sent(path, ASKED, odd, ASKED)).count("W-47") == 1
