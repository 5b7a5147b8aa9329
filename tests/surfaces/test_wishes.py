"""What a client wants is read in each API, in the words of any: the answer's form, a tool, how to think."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiro_auth.conversation import AnswerFormat, Conversation, Thinking, ToolChoice
from kiro_auth.failures import TurnFailed
from kiro_auth.gateway.paths import SURFACES
from support.odd_requests import PATHS

TURN = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def read(path: str, **fields: Any) -> Conversation:
    body = {"model": "m", "input" if path == "/v1/responses" else "messages": TURN, **fields}
    return SURFACES[path].decode(json.dumps(body).encode(), {})


def form(path: str, given: Any) -> dict[str, Any]:
    """The field by which this API asks for a form."""
    match path:
        case "/v1/messages":
            return {"output_config": {"format": given}}
        case "/v1/chat/completions":
            return {"response_format": given}
        case _:
            return {"text": {"format": given}}


FORMS = [
    pytest.param(None, None, id="none"),
    pytest.param({"type": "text"}, None, id="text"),
    pytest.param({"type": "json_object"}, AnswerFormat(), id="JSON"),
    pytest.param({"type": "json_object", "schema": SCHEMA}, AnswerFormat(SCHEMA), id="JSON with a schema"),
    pytest.param({"type": "json_schema", "schema": SCHEMA}, AnswerFormat(SCHEMA), id="Anthropic's"),
    pytest.param(
        {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
        AnswerFormat(SCHEMA, "n"),
        id="of Responses",
    ),
    pytest.param(
        {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": SCHEMA}},
        AnswerFormat(SCHEMA, "n", "d"),
        id="of Chat Completions",
    ),
    pytest.param({"type": "json_schema", "json_schema": {"name": "n"}}, AnswerFormat(None, "n"), id="a name"),
    pytest.param({"type": "json_schema", "schema": True}, AnswerFormat(True), id="a schema that is none"),
    pytest.param({"type": "json_schema", "name": 5}, AnswerFormat(), id="a name that is none"),
]


@pytest.mark.parametrize(("given", "wanted"), FORMS)
@pytest.mark.parametrize("path", PATHS)
def test_each_api_s_form_of_the_answer_counts_on_all(path: str, given: Any, wanted: Any) -> None:
    assert read(path, **form(path, given)).answer_format == wanted


def test_the_field_of_earlier_sdks_counts_where_the_present_one_is_not_there() -> None:
    earlier = {"output_format": {"type": "json_schema", "schema": SCHEMA}}
    now = {"output_config": {"effort": "low", "format": {"type": "json_object"}}}

    assert read("/v1/messages", **earlier).answer_format == AnswerFormat(SCHEMA)
    assert read("/v1/messages", **earlier, **now).answer_format == AnswerFormat()


@pytest.mark.parametrize(
    "given", [{"type": "grammar", "grammar": "a+"}, {"type": 5}, "json", 5, [], {"a": 1}]
)
@pytest.mark.parametrize("path", PATHS)
def test_a_form_that_is_neither_text_nor_json_is_refused_by_name(path: str, given: Any) -> None:
    name = {"/v1/messages": "output_config.format", PATHS[1]: "response_format", PATHS[2]: "text.format"}[
        path
    ]

    with pytest.raises(TurnFailed, match=f"`{name}` must be"):
        read(path, **form(path, given))


CHOICES = [
    (None, ToolChoice()),
    ("auto", ToolChoice()),
    ({"type": "auto"}, ToolChoice()),
    ("none", ToolChoice("none")),
    ({"type": "none"}, ToolChoice("none")),
    ("required", ToolChoice("required")),
    ("any", ToolChoice("required")),
    ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required")),
    ({"type": "function"}, ToolChoice("required")),
    ({"type": "tool", "name": "a"}, ToolChoice("required", ("a",))),
    ({"type": "function", "name": "a"}, ToolChoice("required", ("a",))),
    ({"type": "function", "function": {"name": "a"}}, ToolChoice("required", ("a",))),
    ({"type": "custom", "custom": {"name": "a"}}, ToolChoice("required", ("a",))),
    ({"type": "web_search"}, ToolChoice("required", ("web_search",))),
    (
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "a"}, 5]},
        ToolChoice("auto", ("a",)),
    ),
    (
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "a"}}]},
        },
        ToolChoice("required", ("a",)),
    ),
    ({"type": "allowed_tools", "mode": "required", "tools": []}, ToolChoice("none")),
]


@pytest.mark.parametrize(("given", "wanted"), CHOICES, ids=lambda value: json.dumps(value, default=repr))
@pytest.mark.parametrize("path", PATHS)
def test_each_api_s_way_to_name_a_tool_counts_on_all(path: str, given: Any, wanted: ToolChoice) -> None:
    offered = [{"type": "function", "name": "a"}, {"type": "web_search"}]

    assert read(path, tools=offered, tool_choice=given).tool_choice == wanted


@pytest.mark.parametrize(
    ("path", "fields", "one"),
    [
        *(
            (path, {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}}, True)
            for path in PATHS
        ),
        *(
            (path, {"tool_choice": {"type": "any", "disable_parallel_tool_use": "x"}}, False)
            for path in PATHS
        ),
        *((path, {"parallel_tool_calls": False}, True) for path in PATHS if path != "/v1/messages"),
        *((path, {"parallel_tool_calls": value}, False) for path in PATHS for value in (True, None, 0)),
    ],
)
def test_that_one_tool_may_be_called_at_most_is_read(path: str, fields: Any, one: bool) -> None:
    assert read(path, **fields).one_call is one


@pytest.mark.parametrize("given", [5, True, [], "always", {}, {"type": 5}, {"name": "a"}])
@pytest.mark.parametrize("path", PATHS)
def test_a_choice_that_nobody_understands_is_refused_by_name(path: str, given: Any) -> None:
    with pytest.raises(TurnFailed, match="`tool_choice` must be"):
        read(path, tool_choice=given)


OWN = {
    "/v1/messages": {"thinking": {"type": "enabled", "budget_tokens": 9}},
    "/v1/chat/completions": {"reasoning_effort": "low"},
    "/v1/responses": {"reasoning": {"effort": "low"}},
}
CONFIGS = [
    ({"thinkingBudget": 8192}, Thinking(budget=8192)),
    ({"thinkingBudget": 0}, Thinking(enabled=False)),
    ({"thinkingBudget": -1}, Thinking()),
    ({"thinkingLevel": "HIGH"}, Thinking(effort="high")),
    ({"thinkingBudget": 4096, "includeThoughts": False}, Thinking(budget=4096, visible=False)),
    ({"thinkingBudget": 4096, "includeThoughts": True}, Thinking(budget=4096)),
]


@pytest.mark.parametrize(("config", "wanted"), CONFIGS, ids=str)
@pytest.mark.parametrize("path", PATHS)
def test_a_person_s_own_variant_says_how_to_think_on_all(path: str, config: Any, wanted: Thinking) -> None:
    assert read(path, thinkingConfig=config).thinking == wanted


@pytest.mark.parametrize("path", PATHS)
def test_it_counts_before_what_programs_fill_in_and_says_nothing_when_it_is_empty(path: str) -> None:
    own = OWN[path]

    assert read(path, thinkingConfig={"thinkingBudget": 8192}, **own).thinking == Thinking(budget=8192)
    assert read(path, thinkingConfig={}, **own).thinking == read(path, **own).thinking is not None
    assert read(path, thinkingConfig=None).thinking is None


@pytest.mark.parametrize("path", PATHS)
def test_a_budget_that_is_no_number_is_refused_by_name(path: str) -> None:
    with pytest.raises(TurnFailed, match=r"`thinkingConfig\.thinkingBudget`"):
        read(path, thinkingConfig={"thinkingBudget": "much"})


# ----------------------------------------------------------- a Responses body at the chat address


def test_a_responses_body_at_the_chat_address_keeps_what_is_said_in_the_words_of_either() -> None:
    """As Cursor's agent sends it: input, instructions, flat tools, reasoning, beside options of chat."""
    found = SURFACES["/v1/chat/completions"].decode(
        json.dumps(
            {
                "model": "m",
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
                "instructions": "Be brief.",
                "tools": [{"type": "function", "name": "edit", "description": "E", "parameters": SCHEMA}],
                "reasoning": {"effort": "high"},
                "response_format": {"type": "json_object"},
                "stop": ["END"],
                "stream": True,
                "stream_options": {"include_usage": True},
                "prompt_cache_key": "key",
            }
        ).encode(),
        {},
    )

    assert (found.system, found.messages[0].role) == (("Be brief.",), "user")
    assert [tool.name for tool in found.tools] == ["edit"]
    assert (found.thinking, found.answer_format) == (Thinking(effort="high"), AnswerFormat())
    assert (found.stop_sequences, found.stream, found.usage_in_stream) == (("END",), True, True)
    assert found.session == "key"


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_tokens": 70}, 70),
        ({"max_completion_tokens": 70, "max_tokens": 9}, 70),
        ({"max_output_tokens": 70, "max_tokens": 9}, 70),
        ({"max_output_tokens": -1, "max_tokens": 70}, 70),
        ({}, None),
    ],
)
def test_a_limit_of_output_in_the_words_of_either_counts_there(fields: Any, limit: int | None) -> None:
    assert read("/v1/chat/completions", messages=None, input="Hi", **fields).max_output == limit


@pytest.mark.parametrize(
    "tools", [[], [{"type": "function", "name": "web_search"}], [{"type": "web_search"}]]
)
def test_a_search_in_the_words_of_either_is_offered_there_once(tools: list[Any]) -> None:
    options = {"user_location": {"approximate": {"city": "Graz"}}}
    found = read("/v1/chat/completions", messages=None, input="Hi", tools=tools, web_search_options=options)

    assert found.web_search is not None
    [search] = [tool for tool in found.tools if tool.kind == "web_search"]
    assert search.name == found.web_search.name
    assert len({tool.name for tool in found.tools}) == len(found.tools)
    off = read(
        "/v1/chat/completions", messages=None, input="Hi", web_search_options=options, tool_choice="none"
    )
    assert off.web_search is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "`n` must be 1"),
        ({"logprobs": True}, "`logprobs`"),
        ({"previous_response_id": "r"}, "`previous_response_id`"),
        ({"messages": TURN}, "`input` and `messages`"),
    ],
)
def test_what_either_api_refuses_is_refused_there_too(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(TurnFailed, match=words):
        read("/v1/chat/completions", **{"messages": None, "input": "Hi", **fields})


def test_a_chat_body_at_the_responses_address_is_told_where_it_belongs() -> None:
    with pytest.raises(TurnFailed, match=r"`messages` .* /v1/chat/completions"):
        SURFACES["/v1/responses"].decode(json.dumps({"model": "m", "messages": TURN}).encode(), {})


@pytest.mark.parametrize("model", ["", " "])
@pytest.mark.parametrize("path", PATHS)
def test_a_model_without_a_name_is_refused_here_and_not_by_kiro(path: str, model: str) -> None:
    with pytest.raises(TurnFailed, match="`model` is empty"):
        read(path, model=model)
