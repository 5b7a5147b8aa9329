"""Real agents with tools that their makers define and the client runs, and with their servers' searches."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.npm import NODE, npm_package
from support.opencode import NO_WAY_OUT
from support.programs import KEY, Home, Simulator

CLAUDE_CODE = "2.1.331"
CODEX = "0.171.0"
AI = ("ai", "7.0.173")
ANTHROPIC = ("@ai-sdk/anthropic", "4.0.105")
OPENAI = ("@ai-sdk/openai", "4.0.118")

pytestmark = [pytest.mark.real, pytest.mark.timeout(700)]  # the first run downloads the packages


@pytest.fixture
def stage(home: Home, simulator: Simulator) -> Iterator[tuple[Home, Simulator, str]]:
    (home.folder / "project").mkdir()
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway() as url:
        yield home, simulator, url


def run(home: Home, *command: str, **environment: str) -> str:
    """What the program printed, in the project."""
    done = subprocess.run(
        command,
        cwd=home.folder / "project",
        env={**home.environment, **NO_WAY_OUT, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def turns(simulator: Simulator) -> list[dict[str, Any]]:
    """The current message of each chat that the service got, oldest first."""
    states = [call["body"]["conversationState"] for call in simulator.calls()]
    return [state["currentMessage"]["userInputMessage"] for state in states]


def offered(turn: dict[str, Any]) -> list[str]:
    tools = turn.get("userInputMessageContext", {}).get("tools", [])
    return [tool["toolSpecification"]["name"] for tool in tools]


def results(turn: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = turn.get("userInputMessageContext", {}).get("toolResults", [])
    return found


# ------------------------------------------------------------------------------------- Claude Code


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(True, id="found"),
        pytest.param(False, id="no search there", marks=pytest.mark.clients),
    ],
)
def test_claude_code_s_web_search_is_a_search_or_says_that_there_was_none(
    stage: tuple[Home, Simulator, str], there: bool
) -> None:
    home, simulator, url = stage
    simulator.ask("settings", {"webTools": there})
    call = {"tool": {"name": "WebSearch", "input": {"query": "ferries to Hiiumaa"}}}
    simulator.script({"when": {"contains": "When do they leave?"}, "steps": [call]})
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    said = run(
        home,
        *(str(binary), "-p", "--model", MODEL, "--dangerously-skip-permissions", "When do they leave?"),
        ANTHROPIC_BASE_URL=url,
        ANTHROPIC_API_KEY=KEY,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        IS_SANDBOX="1",
    )

    methods = [call["body"]["method"] for call in simulator.calls("InvokeMCP")]
    assert methods == (["tools/list", "tools/call"] if there else ["tools/list"])
    *_, [result] = [found for turn in turns(simulator) if (found := results(turn))]
    told = json.dumps(result["content"])
    if there:
        assert "https://wiki.example.org/ferries-to-hiiumaa" in told
        assert "https://wiki.example.org/ferries-to-hiiumaa" in said
    else:
        assert "unavailable" in told or "Nothing was searched" in told


# ------------------------------------------------------------------------------------------- Codex

MODEL = "claude-sonnet-4-5"
FULL = {"event": {"name": "metadataEvent",
                  "payload": {"tokenUsage": {"uncachedInputTokens": 90_000, "outputTokens": 5}}}}  # fmt: skip
"""Makes a conversation look full to Codex."""


def codex(home: Home, url: str, prompt: str, **settings: str) -> str:
    """One task with Codex's built-in provider, whose history OpenAI's servers would compact."""
    vendor = npm_package("@openai/codex", CODEX).parent / "codex-linux-x64" / "vendor"
    binary = vendor / "x86_64-unknown-linux-musl" / "bin" / "codex"
    settings = {"openai_base_url": f'"{url}/v1"', **settings}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    unasked = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    command = (str(binary), "exec", *unasked, "-m", MODEL, *words, prompt)
    return run(home, *command, OPENAI_API_KEY=KEY, CODEX_API_KEY=KEY)


def test_codex_goes_on_after_its_history_was_compacted(stage: tuple[Home, Simulator, str]) -> None:
    home, simulator, url = stage
    no_figures = {"tail": {"withMetadata": False, "withContext": False}}
    call = {"tool": {"name": "exec_command", "input": {"cmd": "echo begun > begun.txt"}}}
    simulator.script({"when": {"tools": True}, "steps": [call, FULL, no_figures]})
    said = codex(
        home,
        url,
        "Write a file named done.txt with the content: Done",
        model_auto_compact_token_limit="60000",
    )

    project = home.folder / "project"
    assert (project / "begun.txt").read_text() == "begun\n"
    assert (project / "done.txt").read_text() == "Done\n"
    assert "compacted" in said
    assert "Error running remote compact task" not in said
    _, asked, after, *_ = turns(simulator)
    assert "summary" in asked["content"].rpartition("\n\n")[2]
    assert "Summary: 2 messages" in after["content"], "what the simulated model wrote of it"
    assert results(after) == []


def test_codex_searches_the_web(stage: tuple[Home, Simulator, str]) -> None:
    home, simulator, url = stage
    said = codex(home, url, "Search the web for: ferries to Hiiumaa", web_search='"live"')

    assert [call["body"]["method"] for call in simulator.calls("InvokeMCP")] == ["tools/list", "tools/call"]
    assert "https://wiki.example.org/ferries-to-hiiumaa" in said


# ------------------------------------------------------------------- the AI SDK's tools of the makers

PROGRAM = """
const [ai, provider, url, key] = process.argv.slice(1);
const { generateText, stepCountIs } = await import(ai);
const { createOpenAI, createAnthropic } = await import(provider);
const made = (createAnthropic ?? createOpenAI)({ baseURL: url + "/v1", apiKey: key });
const told = [];
const run = (name, output) => ({ execute: async (input) => { told.push([name, input]); return output; } });
const tools = createAnthropic ? {
  bash: made.tools.bash_20250124(run("bash", "a.md")),
  str_replace_based_edit_tool: made.tools.textEditor_20250728(run("edit", "Made.")),
  memory: made.tools.memory_20250818(run("memory", "Noted.")),
} : {
  shell: made.tools.shell(run("shell", { output: [
    { stdout: "a.md", stderr: "", outcome: { type: "exit", exitCode: 0 } }] })),
  local_shell: made.tools.localShell(run("local_shell", { output: "a.md" })),
  apply_patch: made.tools.applyPatch(run("apply_patch", { status: "completed", output: "Made." })),
};
const result = await generateText({
  model: createAnthropic ? made("claude-sonnet-4-5") : made.responses("claude-sonnet-4-5"), tools,
  prompt: "Tidy up.", stopWhen: stepCountIs(5), maxRetries: 0,
  providerOptions: { openai: { store: false } },
});
console.log(JSON.stringify({ told, text: result.text }));
"""
EDIT = {"command": "create", "path": "/srv/a.md", "file_text": "A"}
PATCH = {"type": "update_file", "path": "a.md", "diff": "@@\n-A\n+B"}
MADE: dict[str, tuple[tuple[str, str], list[tuple[str, dict[str, Any], Any]]]] = {
    # the name of the tool, the model's input, and what the client's own code is to get
    "anthropic": (
        ANTHROPIC,
        [
            ("bash", {"command": "ls"}, {"command": "ls"}),
            ("str_replace_based_edit_tool", EDIT, EDIT),
            ("memory", {"command": "view", "path": "/memories"}, {"command": "view", "path": "/memories"}),
        ],
    ),
    "openai": (
        OPENAI,
        [
            ("shell", {"commands": ["ls"]}, {"action": {"commands": ["ls"]}}),
            ("local_shell", {"command": ["ls"]}, {"action": {"type": "exec", "command": ["ls"], "env": {}}}),
            ("apply_patch", PATCH, {"operation": PATCH}),
        ],
    ),
}


@pytest.mark.parametrize("maker", MADE)
def test_the_ai_sdk_runs_the_tools_of_the_makers(stage: tuple[Home, Simulator, str], maker: str) -> None:
    home, simulator, url = stage
    provider, calls = MADE[maker]
    steps = [{"steps": [{"tool": {"name": name, "input": given}}]} for name, given, _ in calls]
    simulator.script(*steps, {"steps": [{"text": "All is tidy."}]})
    entries = [npm_package(*package) / "dist/index.js" for package in (AI, provider)]
    uris = [entry.as_uri() for entry in entries]
    found = json.loads(run(home, NODE, "--input-type=module", "-e", PROGRAM, *uris, url, KEY))

    assert found["text"] == "All is tidy."
    for (_, got), (_, _, wanted) in zip(found["told"], calls, strict=True):
        inner = next(iter(wanted))
        assert got == wanted or wanted[inner].items() <= got[inner].items()
    first, *rest = turns(simulator)
    assert offered(first) == [name for name, _, _ in calls]
    statuses = [result["status"] for turn in rest for result in results(turn)]
    assert statuses == ["success"] * len(calls)


SEARCH = """
const [ai, provider, url, key, streamed] = process.argv.slice(1);
const { generateText, streamText } = await import(ai);
const { createOpenAI, createAnthropic } = await import(provider);
const made = (createAnthropic ?? createOpenAI)({ baseURL: url + "/v1", apiKey: key });
const asked = {
  model: createAnthropic ? made("claude-sonnet-4-5") : made.responses("claude-sonnet-4-5"),
  tools: { web_search: createAnthropic
    ? made.tools.webSearch_20250305({ maxUses: 2 }) : made.tools.webSearch({}) },
  prompt: "Search the web for: ferries to Hiiumaa", maxRetries: 0,
};
const result = streamed === "true" ? streamText(asked) : await generateText(asked);
const [text, sources, results, reason] = await Promise.all(
  [result.text, result.sources, result.toolResults, result.finishReason]);
console.log(JSON.stringify({ text, reason, results,
  sources: sources.map((source) => source.url) }));
"""


@pytest.mark.parametrize(
    "streamed",
    [pytest.param("false", id="whole", marks=pytest.mark.clients), pytest.param("true", id="streamed")],
)
@pytest.mark.parametrize("maker", MADE)
def test_the_ai_sdk_reads_a_search_and_its_sources(
    stage: tuple[Home, Simulator, str], maker: str, streamed: str
) -> None:
    home, _, url = stage
    entries = [npm_package(*package) / "dist/index.js" for package in (AI, MADE[maker][0])]
    uris = [entry.as_uri() for entry in entries]
    found = json.loads(run(home, NODE, "--input-type=module", "-e", SEARCH, *uris, url, KEY, streamed))

    page = "https://wiki.example.org/ferries-to-hiiumaa"
    assert found["reason"] == "stop"
    assert page in found["sources"]
    assert page in json.dumps(found["results"])


# ------------------------------------------------------------------------------ OpenAI's agents SDK

AGENT = """
import asyncio, json, sys
from agents import Agent, ApplyPatchTool, OpenAIResponsesModel, RunConfig, Runner, ShellTool
from openai import AsyncOpenAI

told = []

class Editor:
    def create_file(self, operation):
        told.append([operation.type, operation.path, operation.diff])
        return "Made."
    update_file = delete_file = create_file

async def shell(request):
    told.append(list(request.data.action.commands))
    return "a.md"

async def main(url, key):
    client = AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
    model = OpenAIResponsesModel(model="claude-sonnet-4-5", openai_client=client)
    tools = [ShellTool(executor=shell), ApplyPatchTool(editor=Editor())]
    agent = Agent(name="tidy", model=model, tools=tools)
    done = await Runner.run(agent, "Tidy up.", run_config=RunConfig(tracing_disabled=True))
    print(json.dumps({"told": told, "text": done.final_output}))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.clients
def test_openai_s_agents_run_their_shell_and_their_patches(stage: tuple[Home, Simulator, str]) -> None:
    home, simulator, url = stage
    new_file = {"type": "create_file", "path": "b.md", "diff": "+B"}
    simulator.script(
        {"steps": [{"tool": {"name": "shell", "input": {"commands": ["pwd", "ls"]}}}]},
        {"steps": [{"tool": {"name": "apply_patch", "input": new_file}}]},
        {"steps": [{"text": "All is tidy."}]},
    )
    printed = run(home, sys.executable, "-c", AGENT, url, KEY)
    found = json.loads(printed.splitlines()[0])

    assert found == {"told": [["pwd", "ls"], ["create_file", "b.md", "+B"]], "text": "All is tidy."}
    _, shell, patch = turns(simulator)
    assert "a.md" in json.dumps(results(shell))
    assert "Made." in json.dumps(results(patch))
