"""Structured answers of pydantic-ai and LangChain on each API: by a forced tool, by a schema, by words.

The simulated model does what is wanted only if the words for it arrived.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from support.programs import KEY, Home
from support.pypi import python_with

pytestmark = [
    pytest.mark.real,
    pytest.mark.clients,
    pytest.mark.timeout(700),
]  # the first run downloads the packages

PYDANTIC_AI = ("pydantic-ai-slim[openai,anthropic]==2.68.0",)
LANGCHAIN = ("langchain-openai==1.7.4", "langchain-anthropic==1.7.10")

# Both ask for the same drawing, and print it as JSON.
_DRAWING = """
import sys
from typing import Literal
from pydantic import BaseModel

class Point(BaseModel):
    unit: Literal["mm-47"]
    left: int

class Drawing(BaseModel):
    "A drawing."
    title: str
    points: list[Point]

url, key, api, way = sys.argv[1:]
"""
WITH_PYDANTIC_AI = (
    _DRAWING
    + """
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

of_openai = OpenAIProvider(base_url=url + "/v1", api_key=key)
name = "claude-sonnet-4-6"
model = {
    "chat": lambda: OpenAIChatModel(name, provider=of_openai),
    "responses": lambda: OpenAIResponsesModel(name, provider=of_openai),
    "messages": lambda: AnthropicModel(name, provider=AnthropicProvider(base_url=url, api_key=key)),
}[api]()
output = {"tool": ToolOutput, "schema": NativeOutput, "words": PromptedOutput}[way]
print(Agent(model, output_type=output(Drawing)).run_sync("Draw a line.").output.model_dump_json())
"""
)
WITH_LANGCHAIN = (
    _DRAWING
    + """
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

name = "claude-sonnet-4-6"
model = {
    "chat": lambda: ChatOpenAI(model=name, base_url=url + "/v1", api_key=key, max_retries=0),
    "responses": lambda: ChatOpenAI(
        model=name, base_url=url + "/v1", api_key=key, max_retries=0, use_responses_api=True
    ),
    "messages": lambda: ChatAnthropic(model=name, base_url=url, api_key=key, max_retries=0),
}[api]()
method = {"tool": "function_calling", "schema": "json_schema"}[way]
print(model.with_structured_output(Drawing, method=method).invoke("Draw a line.").model_dump_json())
"""
)
DRAWN = {"title": "words", "points": [{"unit": "mm-47", "left": 1}]}
APIS = ("chat", "responses", "messages")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, str]]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield home, url


def printed(stage: tuple[Home, str], packages: tuple[str, ...], program: str, *arguments: str) -> object:
    """What the program prints."""
    home, url = stage
    done = subprocess.run(
        [python_with(*packages), "-c", program, url, KEY, *arguments],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", ["tool", "schema", "words"])
@pytest.mark.parametrize("api", APIS)
def test_pydantic_ai_gets_what_it_declared(stage: tuple[Home, str], api: str, way: str) -> None:
    assert printed(stage, PYDANTIC_AI, WITH_PYDANTIC_AI, api, way) == DRAWN


@pytest.mark.parametrize("way", ["tool", "schema"])
@pytest.mark.parametrize("api", APIS)
def test_langchain_gets_what_it_declared(stage: tuple[Home, str], api: str, way: str) -> None:
    assert printed(stage, LANGCHAIN, WITH_LANGCHAIN, api, way) == DRAWN
