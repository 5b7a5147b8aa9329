"""The official Python SDKs at the running gateway: two turns with a tool, an image and a PDF."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.programs import KEY, Home, Simulator
from support.sdks import anthropic, openai

MODEL = "claude-sonnet-4-5"
PROMPT = "Write a file named a.txt with the content: A"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}


class Stage:
    def __init__(self, simulator: Simulator, url: str) -> None:
        self.simulator = simulator
        self.url = url

    def turns(self) -> list[dict[str, Any]]:
        """The current messages of the last two calls that the service got, oldest first."""
        chats = [
            call["body"]
            for call in self.simulator.calls()
            if call["operation"] == "GenerateAssistantResponse"
        ]
        return [body["conversationState"]["currentMessage"]["userInputMessage"] for body in chats[-2:]]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield Stage(simulator, url)


def check(stage: Stage) -> None:
    """The service got the prompt with its attachments and tool, then the tool's result."""
    first, second = stage.turns()
    assert PROMPT in first["content"]
    assert [image["source"]["bytes"] for image in first["images"]] == [PNG]
    assert [document["source"]["bytes"] for document in first["documents"]] == [PDF]
    [tool] = first["userInputMessageContext"]["tools"]
    assert tool["toolSpecification"]["name"] == "write"
    [result] = second["userInputMessageContext"]["toolResults"]
    assert result["status"] == "success"
    assert "Written." in json.dumps(result["content"])


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_openai_chat_completions(stage: Stage, streamed: bool) -> None:
    client = openai().OpenAI(base_url=f"{stage.url}/v1", api_key=KEY, max_retries=0)
    tool = {"type": "function", "function": {"name": "write", "description": "Write.", "parameters": SCHEMA}}
    messages: list[Any] = [
        {"role": "system", "content": "You are terse."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": PROMPT},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
                },
            ],
        },
    ]

    def ask() -> Any:
        if not streamed:
            return client.chat.completions.create(model=MODEL, messages=messages, tools=[tool])
        with client.chat.completions.stream(
            model=MODEL, messages=messages, tools=[tool], stream_options={"include_usage": True}
        ) as stream:
            return stream.get_final_completion()

    with client:
        first = ask()
        said = first.choices[0].message
        [call] = said.tool_calls
        messages.append(said.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "Written."})
        second = ask()

    assert (first.choices[0].finish_reason, second.choices[0].finish_reason) == ("tool_calls", "stop")
    assert json.loads(call.function.arguments) == {"path": "a.txt", "content": "A"}
    assert second.choices[0].message.content
    assert second.usage.prompt_tokens > 0
    assert second.usage.kiro_credits > 0
    check(stage)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_openai_responses(stage: Stage, streamed: bool) -> None:
    client = openai().OpenAI(base_url=f"{stage.url}/v1", api_key=KEY, max_retries=0)
    tool: Any = {"type": "function", "name": "write", "description": "Write.", "parameters": SCHEMA}
    pdf = f"data:application/pdf;base64,{PDF}"
    items: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": PROMPT},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                {"type": "input_file", "filename": "a.pdf", "file_data": pdf},
            ],
        }
    ]

    def ask() -> Any:
        asked: dict[str, Any] = {"model": MODEL, "input": items, "tools": [tool], "store": False}
        if not streamed:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            return stream.get_final_response()

    with client:
        first = ask()
        [call] = [item for item in first.output if item.type == "function_call"]
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": "Written."})
        second = ask()

    assert (first.status, second.status) == ("completed", "completed")
    assert json.loads(call.arguments) == {"path": "a.txt", "content": "A"}
    assert second.output_text
    assert second.usage.input_tokens > 0
    assert second.usage.kiro_credits > 0
    check(stage)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_anthropic_messages(stage: Stage, streamed: bool) -> None:
    client = anthropic().Anthropic(base_url=stage.url, api_key=KEY, max_retries=0)
    tool = {"name": "write", "description": "Write.", "input_schema": SCHEMA}
    image = {"type": "base64", "media_type": "image/png", "data": PNG}
    document = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": PROMPT},
                {"type": "image", "source": image},
                {"type": "document", "source": document},
            ],
        }
    ]

    def ask() -> Any:
        asked: dict[str, Any] = {
            "model": "claude-sonnet-4-6",
            "max_tokens": 500,
            "messages": messages,
            "tools": [tool],
        }
        if not streamed:
            return client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()

    with client:
        first = ask()
        [call] = [block for block in first.content if block.type == "tool_use"]
        messages.append({"role": "assistant", "content": first.content})
        messages.append(
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "Written."}],
            }
        )
        second = ask()

    assert (first.stop_reason, second.stop_reason) == ("tool_use", "end_turn")
    assert call.input == {"path": "a.txt", "content": "A"}
    assert second.content[0].text
    assert second.usage.input_tokens > 0
    if not streamed:  # of a stream it adds up what it knows
        assert second.usage.kiro_credits > 0
    check(stage)


def test_the_sdk_raises_the_error_that_names_what_is_wrong(stage: Stage) -> None:
    with openai().OpenAI(base_url=f"{stage.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai().BadRequestError, match="`n` must be 1"):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}], n=2)
        with pytest.raises(openai().NotFoundError) as raised:
            client.chat.completions.create(
                model="no-such-model", messages=[{"role": "user", "content": "Hi"}]
            )
        assert raised.value.code == "model_not_found"
        assert MODEL in [model.id for model in client.models.list()]


def test_a_wrong_key_is_refused_in_the_api_s_own_shape(stage: Stage) -> None:
    with (
        openai().OpenAI(base_url=f"{stage.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai().AuthenticationError) as raised,
    ):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert raised.value.code == "invalid_api_key"
