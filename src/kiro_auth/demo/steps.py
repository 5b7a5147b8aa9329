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

START_URL: Final = "https://d-1234567890.awsapps.com/start"
"""Of an organisation that the simulator knows."""
REGION: Final = "eu-north-1"
"""Of its identity centre."""
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
    with _step(stage, "A simulated AWS: a sign-in service, Kiro, people with plans"):
        simulator = running.enter_context(stage.simulator())
        stage.write(f"  listens at {simulator}\n")
    _sign_in(stage)
    with _step(stage, "The gateway, which the other programs talk to", "serve"):
        gateway = running.enter_context(stage.gateway())
        stage.write(f"  listens at {gateway.url}\n")
    with _step(stage, "A streamed answer, word by word as it comes: POST /v1/messages"):
        _stream(stage, gateway)
    with _step(stage, "A tool: the model asks to write a file, it is written, the model answers"):
        _use_a_tool(stage, gateway)
    with _step(stage, "Two accounts take turns with four conversations (round-robin)"):
        _take_turns(stage, gateway, simulator)
    with _step(stage, "What is left of each plan", "usage"):
        stage.run("usage")
    if opencode:
        with _step(stage, "The real OpenCode, with the plugin"):
            run_opencode(stage)
    return gateway


@contextmanager
def _step(stage: Stage, title: str, *arguments: str) -> Iterator[None]:
    """Show the title, and the command if the step is one of ours."""
    stage.write(f"\n▸ {title}\n")
    if arguments:
        stage.write(f"  $ kiro-auth {' '.join(arguments)}\n")
    try:
        yield
    except KiroAuthError:
        raise
    except Exception as error:  # whatever goes wrong, a person who only looks gets one sentence
        message = f"The step “{title}” failed: {type(error).__name__}: {error}."
        raise ConfigFailed(Failure(code="KA-INTERNAL", message=message, next_step=REPORT)) from error


def _sign_in(stage: Stage) -> None:
    commands = {
        "Sign in with AWS Builder ID (the simulated AWS confirms the code)": ("login", "--builder-id"),
        "Sign in with an organisation": ("login", "--start-url", START_URL, "--region", REGION),
    }
    for title, command in commands.items():
        with _step(stage, title, *command):
            stage.run(*command, "--no-browser")
    with _step(stage, "Both are kept, each with its own tokens and state", "accounts"):
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
