"""Real clients on the APIs they speak: each finishes a task with two tools through gateway and simulator."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.codex import Codex
from support.npm import npm_package
from support.opencode import NO_WAY_OUT, VERSIONS, OpenCode
from support.programs import KEY, KIRO_AUTH, Home, Simulator

PROMPT = """Write a file named hello.txt with the content: Hello from Kiro

Also run `echo one > one.txt`.

Then read hello.txt."""
"""Two calls in one turn, and one in the next."""
CLAUDE_CODE = "2.1.332"
PACKAGES = {
    "chat": "@ai-sdk/openai-compatible",
    "responses": "@ai-sdk/openai",
    "messages": "@ai-sdk/anthropic",
}
"""By the API that OpenCode then speaks."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def results(simulator: Simulator) -> list[list[Any]]:
    """The tool results that reached the service, turn by turn."""
    found = []
    for call in simulator.calls():
        if call["operation"] == "GenerateAssistantResponse":
            turn = call["body"]["conversationState"]["currentMessage"]["userInputMessage"]
            found.append(turn.get("userInputMessageContext", {}).get("toolResults", []))
    return [turn for turn in found if turn]


def assert_done(project: Path, simulator: Simulator) -> None:
    """What the tools did is there, and the service was told of it, each result with its own call."""
    assert (project / "hello.txt").read_text().strip() == "Hello from Kiro"
    assert (project / "one.txt").read_text().strip() == "one"
    turns = results(simulator)
    assert [[result["status"] for result in turn] for turn in turns] == [["success"] * 2, ["success"]]
    ids = [result["toolUseId"] for turn in turns for result in turn]
    assert len(set(ids)) == 3
    assert "Hello from Kiro" in json.dumps(turns[1])


@pytest.mark.clients
@pytest.mark.parametrize("api", PACKAGES)
def test_opencode_without_the_plugin_works_on_each_api(tmp_path: Path, api: str) -> None:
    home = Home(tmp_path)
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            opencode = OpenCode(VERSIONS[0], home)
            provider = {
                "npm": PACKAGES[api],
                "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
                "models": {"claude-sonnet-4-5": {"tool_call": True, "attachment": True}},
            }
            opencode.configure(json.dumps({"provider": {"mine": provider}}))
            done = opencode.run("run", "-m", "mine/claude-sonnet-4-5", PROMPT, seconds=300)

        assert done.returncode == 0, done.stderr
        assert_done(opencode.project, simulator)


def claude_code(home: Home, url: str, prompt: str) -> subprocess.CompletedProcess[str]:
    """One task in the folder `project` of the home."""
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    project = home.folder / "project"
    project.mkdir(exist_ok=True)
    return subprocess.run(
        [str(binary), "-p", "--model", "claude-sonnet-4-5", "--dangerously-skip-permissions", prompt],
        cwd=project,
        env={
            **home.environment,
            **NO_WAY_OUT,
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",  # without it, it refuses to skip permissions for root
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_claude_code_finishes_a_task_with_two_tools(home: Home, simulator: Simulator) -> None:
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway() as url:
        done = claude_code(home, url, PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(home.folder / "project", simulator)


FAILURES: dict[str, tuple[str, dict[str, Any], str]] = {
    "Kiro is down": (
        "fault", {"operation": "GenerateAssistantResponse", "status": 503, "times": 50},
        "Kiro had a fault of its own (KA-SERVICE).",
    ),
    "the plan is used up": (
        "user", {"email": "ada@example.com", "used": 1000, "limit": 1000},
        "The account's plan limit for this month is used up (KA-QUOTA). Available again ",
    ),
    "the account is locked": (
        "user", {"email": "ada@example.com", "suspended": True},
        "AWS has locked the account (KA-SUSPENDED). Ask AWS",
    ),
}  # fmt: skip
SHOWN = [
    "the plan is used up",
    *(pytest.param(name, marks=pytest.mark.clients) for name in ("Kiro is down", "the account is locked")),
]


def turns(home: Home) -> int:
    """How many turns the gateway was asked for."""
    return len((home.state / "requests.jsonl").read_text().splitlines())


@pytest.mark.parametrize("name", SHOWN)
def test_claude_code_shows_a_failure_as_it_is_after_one_request(
    home: Home, simulator: Simulator, name: str
) -> None:
    path, order, words = FAILURES[name]
    home.run("login", "--builder-id", "--no-browser")
    simulator.ask(path, order)
    with home.gateway(KIRO_ENABLE_LOG_API_REQUEST="1") as url:
        done = claude_code(home, url, "Say hello.")

    assert done.returncode == 1
    assert words in done.stdout
    assert "authenticate" not in done.stdout, "how it words 403"
    assert turns(home) == 1


class Conversation:
    """Claude Code, started by `kiro-auth run`, in a conversation of several turns."""

    def __init__(self, home: Home) -> None:
        binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
        (home.folder / "bin").mkdir()
        (home.folder / "bin" / "claude").symlink_to(binary)
        words = ("-p", "--verbose", "--input-format", "stream-json", "--output-format", "stream-json")
        self.process = subprocess.Popen(
            [*KIRO_AUTH, "run", "claude", *words, "--dangerously-skip-permissions"],
            cwd=home.folder,
            env={
                **home.environment,
                **NO_WAY_OUT,
                "PATH": f"{home.folder / 'bin'}{os.pathsep}{home.environment['PATH']}",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "IS_SANDBOX": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self, words: str) -> str:
        """What it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        message = {"type": "user", "message": {"role": "user", "content": words}}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            said = json.loads(line)
            if said["type"] == "result":
                assert not said["is_error"], said
                return str(said["result"])
        raise AssertionError("it ended without an answer")

    def close(self) -> None:
        """End it, as with Ctrl-D."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.process.stdout.close()


@pytest.mark.clients
def test_claude_code_under_run_goes_on_after_a_stop_and_a_takeover_between_two_turns(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with contextlib.ExitStack() as stack:
        simulator = stack.enter_context(home.simulator("--auto-approve"))
        home.run("login", "--builder-id", "--no-browser")
        home.keep_address()
        stack.callback(home.stop_gateway)
        claude = stack.enter_context(contextlib.closing(Conversation(home)))
        state = home.state / "gateway.json"
        assert "Hello from the simulated model" in claude.turn("Say hello.")
        first = json.loads(state.read_text())

        assert home.run("stop").stdout == "Stopped.\n"
        assert "Hello from the simulated model" in claude.turn("Say hello again.")
        second = json.loads(state.read_text())
        assert (second["port"], second["key"]) == (first["port"], first["key"])
        assert second["pid"] != first["pid"]

        state.write_text(json.dumps({**second, "version": "0.0.1"}))  # so that a newer one takes over
        newer = stack.enter_context(home.started("serve"))
        assert newer.stdout is not None
        assert f":{first['port']}; " in newer.stdout.readline()
        assert "Hello from the simulated model" in claude.turn("Say hello once more.")

        asked = [call for call in simulator.calls() if "once more" in json.dumps(call["body"])]
        assert "Say hello again." in json.dumps(asked[-1]["body"]["conversationState"]["history"])


@pytest.fixture
def codex(home: Home, simulator: Simulator) -> Iterator[tuple[Codex, Simulator]]:
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway(KIRO_ENABLE_LOG_API_REQUEST="1") as url:
        yield Codex(home, url), simulator


def test_codex_finishes_a_task_with_two_tools(codex: tuple[Codex, Simulator]) -> None:
    program, simulator = codex
    done = program.run(PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(program.project, simulator)


def test_codex_starts_a_sub_agent_whose_tool_is_in_a_namespace(codex: tuple[Codex, Simulator]) -> None:
    program, simulator = codex
    call = {"name": "multi_agent_v1__spawn_agent", "input": {"message": "Count the files."}}
    simulator.script({"steps": [{"tool": call}]})
    done = program.run("Have an agent count the files.")

    assert done.returncode == 0, done.stdout + done.stderr
    (turn,) = results(simulator)
    assert "agent_id" in json.dumps(turn[0]["content"]), "what the client says of a tool it knows"


def test_codex_with_another_base_url_goes_on_over_http_at_once(codex: tuple[Codex, Simulator]) -> None:
    """It asks for a WebSocket first, and tries that again and again unless it is told otherwise."""
    program, simulator = codex
    signed_in = program.command("login", "--with-api-key", settings=program.its_own_provider, stdin=KEY)
    assert signed_in.returncode == 0, signed_in.stderr
    done = program.run(PROMPT, settings=program.its_own_provider)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Reconnecting" not in done.stdout + done.stderr
    assert_done(program.project, simulator)


def signed_in_with_chatgpt(home: Home) -> None:
    """As Codex keeps such a sign-in; the gateway's key stands for the access token."""
    claims = {
        "exp": time.time() + 86_400,
        "email": "ada@example.com",
        "https://api.openai.com/auth": {"chatgpt_plan_type": "pro", "chatgpt_account_id": "a"},
    }
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
             for part in ({"alg": "none"}, claims))  # fmt: skip
    tokens = {
        "id_token": ".".join((*parts, "x")), "access_token": KEY, "refresh_token": "r", "account_id": "a",
    }  # fmt: skip
    folder = home.folder / ".codex"
    folder.mkdir()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    (folder / "auth.json").write_text(
        json.dumps({"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": now})
    )


def test_codex_that_is_signed_in_offers_the_models_of_the_gateway_and_uses_their_efforts(
    codex: tuple[Codex, Simulator],
) -> None:
    program, simulator = codex
    signed_in_with_chatgpt(program.home)
    listed = program.command("debug", "models", settings=program.its_own_provider)
    rows = json.loads(listed.stdout)["models"]
    deep = {**program.its_own_provider, "model_reasoning_effort": "high"}
    done = program.run(PROMPT, settings=deep, model="claude-opus-4-6")

    slugs = [row["slug"] for row in rows]
    assert slugs[0] == "auto"
    assert {"claude-sonnet-4-5", "claude-opus-4-6", "qwen3-coder-480b"} < set(slugs)
    assert not [slug for slug in slugs if "thinking" in slug]
    assert done.returncode == 0, done.stdout + done.stderr
    for trouble in ("failed to refresh available models", "Model metadata", "Reconnecting"):
        assert trouble not in done.stdout + done.stderr
    assert_done(program.project, simulator)
    for call in simulator.calls():
        assert call["body"]["additionalModelRequestFields"]["output_config"] == {"effort": "high"}
    history = json.dumps(simulator.calls()[-1]["body"]["conversationState"]["history"][0])
    assert "You are a coding agent" in history, "a model of the list has its instructions from there"


@pytest.mark.parametrize("name", SHOWN)
def test_codex_shows_a_failure_without_reconnecting(
    codex: tuple[Codex, Simulator], tmp_path: Path, name: str
) -> None:
    program, simulator = codex
    path, order, words = FAILURES[name]
    simulator.ask(path, order)
    done = program.run("Say hello.")
    told = done.stdout + done.stderr

    assert done.returncode == 1
    assert words in told
    assert "Reconnecting" not in told
    assert turns(Home(tmp_path)) == 1
