"""What a client insists on: JSON by a schema, a tool that must be called, the rest of words that were begun.

The simulated model knows what is wanted from the words that reach it, and from nothing else; it puts JSON
into a code fence, as models do.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from support.odd_requests import PATHS
from support.programs import KEY, Home, Simulator
from support.said import Said, streamed, whole
from support.sdks import anthropic, openai

MODEL = "claude-sonnet-4-5"


class Point(BaseModel):
    unit: Literal["mm"]
    left: int


class Drawing(BaseModel):
    title: str
    points: list[Point]


SCHEMA = Drawing.model_json_schema()
QUESTION = [{"role": "user", "content": "Draw a line."}]


class Stage:
    def __init__(self, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        self.url = url

    def ask(self, path: str, body: dict[str, Any]) -> Said:
        """The answer to a request, streamed if it wants that."""
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        data = json.dumps({"model": MODEL, **body}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers)) as reply:
            return (streamed if body.get("stream") else whole)(path, reply.read())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield Stage(simulator, url)


@pytest.fixture
def of_openai(stage: Stage) -> Iterator[Any]:
    with openai().OpenAI(base_url=f"{stage.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


@pytest.fixture
def of_anthropic(stage: Stage) -> Iterator[Any]:
    with anthropic().Anthropic(base_url=stage.url, api_key=KEY, max_retries=0) as client:
        yield client


# -------------------------------------------------------------------------------- the SDKs' own helpers


def test_chat_completions_are_parsed_by_the_sdk(of_openai: Any) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": QUESTION, "response_format": Drawing}
    reply = of_openai.chat.completions.parse(**asked)
    with of_openai.chat.completions.stream(**asked) as stream:
        last = stream.get_final_completion()

    for completion in (reply, last):
        assert isinstance(completion.choices[0].message.parsed, Drawing)


def test_responses_are_parsed_by_the_sdk(of_openai: Any) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": QUESTION, "text_format": Drawing}
    reply = of_openai.responses.parse(**asked)
    with of_openai.responses.stream(**asked) as stream:
        last = stream.get_final_response()

    for response in (reply, last):
        assert isinstance(response.output_parsed, Drawing)


def test_messages_are_parsed_by_the_sdk(of_anthropic: Any) -> None:
    asked: dict[str, Any] = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 500,
        "messages": QUESTION,
        "output_format": Drawing,
    }
    reply = of_anthropic.messages.parse(**asked)
    with of_anthropic.messages.stream(**asked) as stream:
        last = stream.get_final_message()

    for message in (reply, last):
        assert isinstance(message.parsed_output, Drawing)


# ------------------------------------------------------------------------------------------ each API


def asked(path: str, **fields: Any) -> dict[str, Any]:
    """A question in the words of this API."""
    match path:
        case "/v1/messages":
            return {"max_tokens": 500, "messages": QUESTION, **fields}
        case "/v1/chat/completions":
            return {"messages": QUESTION, **fields}
        case _:
            return {"input": QUESTION, **fields}


def form(path: str, schema: Any, **more: Any) -> dict[str, Any]:
    """The field by which this API asks for JSON."""
    named = {"name": "drawing", "schema": schema, **more}
    match path:
        case "/v1/messages":
            return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        case "/v1/chat/completions":
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case _:
            return {"text": {"format": {"type": "json_schema", **named}}}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("strict", [False, True, None], ids=["loose", "strict", "unsaid"])
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_by_a_schema_is_json_and_nothing_else(
    stage: Stage, path: str, strict: bool | None, stream: bool
) -> None:
    said = stage.ask(path, asked(path, stream=stream, **form(path, SCHEMA, strict=strict)))

    assert Drawing.model_validate_json(said.text)
    assert said.text.startswith("{")
    assert said.text.endswith("}")


@pytest.mark.parametrize("path", PATHS[1:])
def test_json_mode_keeps_to_the_words_that_the_client_has_for_it(stage: Stage, path: str) -> None:
    words = {"role": "system", "content": "Answer with a JSON object with the key color, and nothing else."}
    turns = [words, {"role": "user", "content": "The sky?"}]
    mode = {"type": "json_object"}
    body = {"messages": turns, "response_format": mode} if "chat" in path else {}
    said = stage.ask(path, body or {"input": turns, "text": {"format": mode}})

    assert json.loads(said.text) == {"color": "The sky?"}


def test_what_was_said_before_a_tool_is_called_is_left_as_it_is(stage: Stage) -> None:
    """A fence is taken off where JSON was asked for, and nowhere else."""
    fenced = '```json\n{"a": 1}\n```'
    stage.simulator.script({"steps": [{"text": fenced}]}, {"steps": [{"text": fenced}]})

    plain = stage.ask("/v1/messages", asked("/v1/messages"))
    taken_off = stage.ask("/v1/messages", asked("/v1/messages", **form("/v1/messages", {"type": "object"})))

    assert (plain.text, taken_off.text) == (fenced, '{"a": 1}')


TOOL = {"type": "object", "properties": {"color": {"type": "string"}}, "required": ["color"]}
OTHER = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}


def tools(path: str) -> list[dict[str, Any]]:
    """Two tools in the words of this API."""
    both = [("look", OTHER), ("final_result", TOOL)]
    match path:
        case "/v1/messages":
            return [{"name": name, "description": name, "input_schema": schema} for name, schema in both]
        case "/v1/chat/completions":
            functions = [{"name": name, "parameters": schema} for name, schema in both]
            return [{"type": "function", "function": function} for function in functions]
        case _:
            return [{"type": "function", "name": name, "parameters": schema} for name, schema in both]


NAMED = [
    {"type": "tool", "name": "final_result"},
    {"type": "function", "name": "final_result"},
    {"type": "function", "function": {"name": "final_result"}},
    {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "final_result"}]},
]
ANY = ["required", "any", {"type": "any"}, {"type": "function"}]


@pytest.mark.parametrize("choice", NAMED, ids=json.dumps)
@pytest.mark.parametrize("path", PATHS)
def test_a_tool_that_is_named_is_called(stage: Stage, path: str, choice: Any) -> None:
    said = stage.ask(path, asked(path, tools=tools(path), tool_choice=choice))

    [(_, name, given)] = said.calls
    assert (name, given) == ("final_result", {"color": "words"})


@pytest.mark.parametrize("choice", ANY, ids=json.dumps)
@pytest.mark.parametrize("path", PATHS)
def test_some_tool_is_called_where_one_is_required(stage: Stage, path: str, choice: Any) -> None:
    forced = stage.ask(path, asked(path, tools=tools(path), tool_choice=choice))
    free = stage.ask(path, asked(path, tools=tools(path)))

    assert [name for _, name, _ in forced.calls] == ["look"]
    assert free.calls == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("repeated", [False, True], ids=["goes on", "begins again"])
@pytest.mark.parametrize("path", PATHS)
def test_begun_words_are_gone_on_from_and_not_said_again(
    stage: Stage, path: str, repeated: bool, stream: bool
) -> None:
    begun = '{"colors": ["blue",'
    rest = ' "grey"]}'
    stage.simulator.script({"steps": [{"text": begun + rest if repeated else rest}]})
    turns = [*QUESTION, {"role": "assistant", "content": begun}]
    said = stage.ask(path, {**asked(path, stream=stream), "input" if "resp" in path else "messages": turns})
    sent = stage.simulator.calls()[-1]["body"]["conversationState"]

    assert json.loads(begun + said.text) == {"colors": ["blue", "grey"]}
    assert sent["history"][-1]["assistantResponseMessage"]["content"] == begun
    assert "exactly where your last message stops" in sent["currentMessage"]["userInputMessage"]["content"]


@pytest.mark.parametrize("budget", [4096, 20000])
@pytest.mark.parametrize("path", PATHS)
def test_the_budget_of_a_person_s_own_variant_reaches_the_service(
    stage: Stage, path: str, budget: int
) -> None:
    room = {"max_output_tokens" if path == "/v1/responses" else "max_tokens": 2 * budget}
    stage.ask(path, {**asked(path, thinkingConfig={"thinkingBudget": budget}), **room})
    sent = stage.simulator.calls()[-1]["body"]["conversationState"]["currentMessage"]

    assert f"<max_thinking_length>{budget}<" in sent["userInputMessage"]["content"]


def test_a_responses_body_at_the_chat_address_is_answered_as_chat_completions(stage: Stage) -> None:
    """As Cursor's agent sends it: with tools, a call and its result in the words of Responses."""
    write = {"type": "object", "properties": {"path": {"type": "string"}, "content": {"type": "string"}}}
    words = "Write a file named a.txt with the content: A"
    body: dict[str, Any] = {
        "stream": True,
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": words}]}],
        "tools": [{"type": "function", "name": "write", "description": "Writes.", "parameters": write}],
    }

    first = stage.ask("/v1/chat/completions", body)
    [(id_, name, given)] = first.calls
    body["input"] += [
        {"type": "function_call", "call_id": id_, "name": name, "arguments": json.dumps(given)},
        {"type": "function_call_output", "call_id": id_, "output": "Written."},
    ]
    second = stage.ask("/v1/chat/completions", body)

    assert (name, given, first.ends) == ("write", {"path": "a.txt", "content": "A"}, "tool_calls")
    assert (second.text, second.ends) == ("I wrote a.txt.", "stop")
