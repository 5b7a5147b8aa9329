"""The steps of the demonstration, in their order.  One that fails raises KiroAuthError."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from kiro_auth.demo.client import Gateway, simulator_calls
from kiro_auth.demo.opencode import run_opencode
from kiro_auth.demo.stage import REPORT, Stage
from kiro_auth.failures import ConfigFailed, Failure, KiroAuthError

ORGANISATION: Final = ("https://d-1234567890.awsapps.com/start", "eu-north-1")
"""An organisation that the simulator knows, and the region of its identity centre."""
WRITE_FILE: Final = {
    "name": "write_file",
    "description": "Write a text file.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
        "required": ["path", "content"],
    },
}


def run_all(stage: Stage, running: ExitStack, *, opencode: bool) -> Gateway:
    """All steps; what stays up, the gateway among it, ends with `running`."""
    with _step(stage, "A simulated AWS: sign-in service, Kiro, people with plans."):
        simulator = running.enter_context(stage.simulator())
        stage.write(f"  listens at {simulator}\n")
    _sign_in(stage)
    with _step(stage, "The gateway: kiro-auth serve"):
        gateway = running.enter_context(stage.gateway())
        stage.write(f"  listens at {gateway.url}\n")
    with _step(stage, "A streamed answer: POST /v1/messages, word by word as it comes"):
        _stream(stage, gateway)
    with _step(stage, "A tool conversation: the model asks to write a file, we write it, it answers"):
        _use_a_tool(stage, gateway)
    with _step(stage, "Four conversations take turns: strategy round-robin (usual is the least used plan)"):
        _take_turns(stage, gateway, simulator)
    with _step(stage, "What is left of each plan: kiro-auth usage"):
        stage.run("usage")
    if opencode:
        with _step(stage, "The real OpenCode, with the plugin: opencode run"):
            run_opencode(stage)
    return gateway


@contextmanager
def _step(stage: Stage, title: str) -> Iterator[None]:
    stage.write(f"\n▸ {title}\n")
    try:
        yield
    except KiroAuthError:
        raise
    except Exception as error:  # whatever goes wrong, a person who only looks gets one sentence
        message = f"The step “{title}” failed: {type(error).__name__}: {error}."
        raise ConfigFailed(Failure(code="KA-INTERNAL", message=message, next_step=REPORT)) from error


def _sign_in(stage: Stage) -> None:
    with _step(
        stage, "Sign in with AWS Builder ID: kiro-auth login --builder-id (the simulator confirms the code)"
    ):
        stage.run("login", "--builder-id", "--no-browser")
    start_url, region = ORGANISATION
    with _step(
        stage, f"Sign in with an organisation: kiro-auth login --start-url {start_url} --region {region}"
    ):
        stage.run("login", "--start-url", start_url, "--region", region, "--no-browser")
    with _step(stage, "Both are kept, each with its own tokens and state: kiro-auth accounts"):
        stage.run("accounts")


def _stream(stage: Stage, gateway: Gateway) -> None:
    question = [{"role": "user", "content": "Say hello to whoever reads this."}]
    stage.write("  ")
    for line in gateway.lines({"messages": question, "stream": True}, "demo-stream"):
        if line.startswith(b"data: "):
            stage.write(json.loads(line[6:]).get("delta", {}).get("text", ""))
    stage.write("\n")


def _use_a_tool(stage: Stage, gateway: Gateway) -> None:
    messages: list[Any] = [
        {"role": "user", "content": "Write a file named hello.txt with the content: Hello from Kiro"}
    ]
    answer = gateway.message(messages, "demo-tool", tools=[WRITE_FILE])
    call = next(block for block in answer["content"] if block["type"] == "tool_use")
    stage.write(f"  the model calls {call['name']} with {json.dumps(call['input'])}\n")
    target = stage.project / Path(call["input"]["path"]).name
    target.write_text(call["input"]["content"])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "Written."}
    messages += [
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [result]},
    ]
    answer = gateway.message(messages, "demo-tool", tools=[WRITE_FILE])
    stage.write(f"  {target.name} holds: {target.read_text()}\n")
    stage.write(f"  the model answers: {answer['content'][0]['text']}\n")


def _take_turns(stage: Stage, gateway: Gateway, simulator: str) -> None:
    for number in range(4):
        gateway.message([{"role": "user", "content": f"Conversation {number + 1}"}], f"demo-{number}")
    chats = [call for call in simulator_calls(simulator) if call["operation"] == "GenerateAssistantResponse"]
    for number, call in enumerate(chats[-4:], 1):
        stage.write(f"  conversation {number}: served in {call['region']} for {call['user']}\n")
