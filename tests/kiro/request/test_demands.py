"""What a client insists on reaches the model in words: which form, which tool, where to go on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.conversation import (
    AnswerFormat,
    Conversation,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload

ASKED = Message("user", (Text("Name a color."),))
SCHEMA = {"type": "object", "properties": {"color": {"enum": ["green-47"]}}}
TOOLS = (Tool("look", "Looks.", {}), Tool("mcp.server/final", "Ends.", SCHEMA))
LEGAL = {"look": "look", "mcp.server/final": "mcp_server_final"}
OPTIONS = payload.Options(
    model=resolve("claude-sonnet-4-5", ()).model, protocol="rest", origin="AI_EDITOR", profile_arn=None
)


def built(*messages: Message, **fields: Any) -> payload.Payload:
    return payload.build(Conversation(model="m", messages=messages or (ASKED,), **fields), OPTIONS)


def turns(*messages: Message, **fields: Any) -> list[str]:
    """The words of each of the user's turns, as the service gets them."""
    state = json.loads(built(*messages, **fields).body)["conversationState"]
    entries = [*state["history"], state["currentMessage"]]
    return [entry["userInputMessage"]["content"] for entry in entries if "userInputMessage" in entry]


def test_where_nothing_is_insisted_on_nothing_is_added() -> None:
    assert turns(tools=TOOLS) == ["Name a color."]


@pytest.mark.parametrize("tools", [(), TOOLS])
def test_that_one_tool_may_be_called_at_most_is_told_where_there_are_tools(tools: tuple[Tool, ...]) -> None:
    [words] = turns(tools=tools, one_call=True)
    assert ("one tool at most" in words) == bool(tools)


# ---------------------------------------------------------------------------------- the form

schemas = st.recursive(
    st.none() | st.booleans() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(schemas.filter(lambda schema: schema is not None))
def test_any_schema_is_told_as_it_is(schema: Any) -> None:
    [words] = turns(answer_format=AnswerFormat(schema))

    told = words.partition("JSON Schema of the answer:\n\n")[2].partition("\n\nName a color.")[0]
    assert json.loads(told) == schema


def test_name_and_description_of_the_form_are_told() -> None:
    [words] = turns(answer_format=AnswerFormat(SCHEMA, "paint", "A color that there is."))

    assert "The answer is paint: A color that there is." in words


def test_json_without_a_schema_is_told() -> None:
    [words] = turns(answer_format=AnswerFormat())

    assert "one JSON object, and with nothing else" in words
    assert "Schema" not in words


def test_the_form_stands_with_the_instructions_and_is_the_same_in_every_turn() -> None:
    """Signed reasoning is bound to all that stands before it."""
    later = (Message("assistant", (Text("Blue."),)), Message("user", (Text("Another."),)))
    fields = {"system": ("Be brief.",), "answer_format": AnswerFormat(SCHEMA)}

    [first] = turns(ASKED, **fields)
    again, last = turns(ASKED, *later, **fields)

    assert (first, last) == (again, "Another.")
    assert first.index("Be brief.") < first.index("green-47") < first.index("Name a color.")


# ---------------------------------------------------------------------------------- the tool


@pytest.mark.parametrize("name", LEGAL)
def test_a_tool_that_must_be_called_is_named_as_the_service_knows_it(name: str) -> None:
    made = built(tools=TOOLS, tool_choice=ToolChoice("required", (name,)))
    current = json.loads(made.body)["conversationState"]["currentMessage"]["userInputMessage"]
    [tool] = current["userInputMessageContext"]["tools"]
    sent = tool["toolSpecification"]["name"]

    assert sent.startswith(LEGAL[name])
    assert current["content"] == (
        f"Name a color.\n\nAnswer this with a call of the tool {sent}, not with words alone."
    )


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (ToolChoice("required"), "a call of one of your tools, not"),
        (ToolChoice("required", ("look", "gone", "note")), "a call of one of the tools look, note, not"),
        (ToolChoice("required", ("gone",)), "You were to call the tool gone now, but none is offered"),
    ],
)
def test_each_way_to_insist_on_a_call_has_its_words(choice: ToolChoice, words: str) -> None:
    [told] = turns(tools=(*TOOLS, Tool("note", "Notes.", {})), tool_choice=choice)

    assert words in told


def test_where_there_is_but_one_tool_it_is_named() -> None:
    [told] = turns(tools=TOOLS[:1], tool_choice=ToolChoice("required"))

    assert "a call of the tool look, not" in told


def test_a_call_of_no_tool_at_all_cannot_be_made_and_that_is_told() -> None:
    [told] = turns(tool_choice=ToolChoice("required"))

    assert "You were to call a tool now, but none is offered here." in told


@pytest.mark.parametrize("choice", [ToolChoice(), ToolChoice("none"), ToolChoice("auto", ("look",))])
def test_a_call_that_may_be_made_is_not_insisted_on(choice: ToolChoice) -> None:
    assert turns(tools=TOOLS, tool_choice=choice) == ["Name a color."]


def test_it_is_told_of_this_turn_alone_and_after_results_too() -> None:
    history = (
        ASKED,
        Message("assistant", (ToolCall("t1", "look", {}),)),
        Message("user", (ToolResult("t1", (Text("Green."),)),)),
    )
    first, last = turns(*history, tools=TOOLS, tool_choice=ToolChoice("required"))

    assert first == "Name a color."
    assert last.startswith("Answer this with a call of one of your tools")


# ------------------------------------------------------------------------------ begun words


@given(st.text("ab{\n ", min_size=1, max_size=9).filter(str.strip))
def test_begun_words_are_to_be_gone_on_from_exactly(begun: str) -> None:
    made = built(ASKED, Message("assistant", (Text(begun),)))
    state = json.loads(made.body)["conversationState"]

    assert state["history"][-1]["assistantResponseMessage"]["content"] == begun
    assert "exactly where your last message stops" in state["currentMessage"]["userInputMessage"]["content"]
    assert made.prefill == begun


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(Message("user", (Text("Go on."),)), id="the user's"),
        pytest.param(Message("assistant", (ToolCall("t1", "look", {}),)), id="a call"),
        pytest.param(Message("assistant", (Text("So:"), ToolCall("t1", "look", {}))), id="words and a call"),
        pytest.param(Message("assistant", (Text("  "),)), id="blank"),
        pytest.param(Message("system", (Text("Be brief."),)), id="an instruction"),
    ],
)
def test_any_other_last_message_is_nothing_that_was_begun(last: Message) -> None:
    assert built(ASKED, last).prefill == ""
