"""The Vercel AI SDK at the running gateway: two turns with a tool, an image and a PDF, on each API; what it
insists on.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from support.npm import NODE, npm_package
from support.programs import KEY, Home, Simulator

PROVIDERS = {
    "chat": ("@ai-sdk/openai-compatible", "3.0.92"),
    "responses": ("@ai-sdk/openai", "4.0.118"),
    "messages": ("@ai-sdk/anthropic", "4.0.105"),
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()

# Streams or awaits one task whose tool the SDK runs itself; prints what came of it.
PROGRAM = """
const [ai, provider, url, key, streamed, png, pdf] = process.argv.slice(1);
const { generateText, streamText, stepCountIs, tool, jsonSchema } = await import(ai);
const { createOpenAICompatible, createOpenAI, createAnthropic } = await import(provider);
const options = { name: "kiro", baseURL: url + "/v1", apiKey: key, includeUsage: true };
const model = (createOpenAICompatible ?? createOpenAI ?? createAnthropic)(options)("claude-sonnet-4-6");
const write = tool({
  description: "Write a file.",
  inputSchema: jsonSchema({
    type: "object",
    properties: { path: { type: "string" }, content: { type: "string" } },
    required: ["path", "content"],
  }),
  execute: async (input) => "Written: " + JSON.stringify(input),
});
const content = [
  { type: "text", text: "Write a file named a.txt with the content: A" },
  { type: "file", data: png, mediaType: "image/png" },
  { type: "file", data: pdf, mediaType: "application/pdf", filename: "a.pdf" },
];
const asked = { model, tools: { write }, stopWhen: stepCountIs(3), maxRetries: 0,
                messages: [{ role: "user", content }] };
const result = streamed === "true" ? streamText(asked) : await generateText(asked);
const steps = await result.steps;
console.log(JSON.stringify(steps.map((step) => ({
  reason: step.finishReason, text: step.text, input: step.usage.inputTokens,
  results: step.toolResults.map((found) => found.output),
}))));
"""

# Asks for an object by its schema, and for calls of tools; prints what came of each way, whole and streamed.
INSISTING = """
const [ai, provider, url, key] = process.argv.slice(1);
const { generateText, streamText, Output, tool, jsonSchema } = await import(ai);
const { createOpenAICompatible, createOpenAI, createAnthropic } = await import(provider);
const options = { name: "kiro", baseURL: url + "/v1", apiKey: key, supportsStructuredOutputs: true };
const model = (createOpenAICompatible ?? createOpenAI ?? createAnthropic)(options)("claude-sonnet-4-6");
const object = (properties) => jsonSchema({
  type: "object", properties, required: Object.keys(properties), additionalProperties: false,
});
const drawing = object({ title: { type: "string" }, unit: { type: "string", enum: ["mm-47"] } });
const tools = {
  look: tool({ description: "Look.", inputSchema: object({ at: { type: "string" } }) }),
  draw: tool({ description: "Draw.", inputSchema: drawing }),
};
const ways = {
  object: { output: Output.object({ schema: drawing }) },
  named: { tools, toolChoice: { type: "tool", toolName: "draw" } },
  required: { tools, toolChoice: "required" },
};
const answered = async (result, way) =>
  way === "object"
    ? await result.output
    : (await result.toolCalls).map(({ toolName, input }) => [toolName, input]);
const came = {};
for (const [way, wanted] of Object.entries(ways)) {
  const asked = { model, maxRetries: 0, prompt: "Draw a line.", ...wanted };
  came[way] = {
    whole: await answered(await generateText(asked), way),
    streamed: await answered(streamText(asked), way),
  };
}
console.log(JSON.stringify(came));
"""
DRAWN = {"title": "words", "unit": "mm-47"}
INSISTED = {"object": DRAWN, "named": [["draw", DRAWN]], "required": [["look", {"at": "words"}]]}

pytestmark = [pytest.mark.real, pytest.mark.timeout(700)]  # the first run downloads the packages


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Simulator, str]]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield home, simulator, url


def run(home: Home, program: str, api: str, *arguments: str) -> Any:
    """What the program prints with the provider of this API."""
    entries = [npm_package(*package) / "dist/index.js" for package in (("ai", "7.0.173"), PROVIDERS[api])]
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", program, *(entry.as_uri() for entry in entries), *arguments],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "streamed",
    [pytest.param(False, id="whole", marks=pytest.mark.clients), pytest.param(True, id="streamed")],
)
@pytest.mark.parametrize("api", PROVIDERS)
def test_a_task_with_a_tool_is_finished(stage: tuple[Home, Simulator, str], api: str, streamed: bool) -> None:
    home, simulator, url = stage
    before = len(simulator.calls())
    first, second = run(home, PROGRAM, api, url, KEY, str(streamed).lower(), PNG, PDF)
    bodies = [call["body"] for call in simulator.calls()[before:]]

    assert (first["reason"], second["reason"]) == ("tool-calls", "stop")
    assert first["results"] == ['Written: {"path":"a.txt","content":"A"}']
    assert second["text"]
    assert second["input"] > 0
    turns = [body["conversationState"]["currentMessage"]["userInputMessage"] for body in bodies]
    assert [image["source"]["bytes"] for image in turns[0]["images"]] == [PNG]
    assert [document["source"]["bytes"] for document in turns[0]["documents"]] == [PDF]
    [result] = turns[1]["userInputMessageContext"]["toolResults"]
    assert "Written" in json.dumps(result["content"])


@pytest.mark.parametrize("api", PROVIDERS)
def test_it_gets_what_it_insists_on_whole_and_streamed(stage: tuple[Home, Simulator, str], api: str) -> None:
    home, _, url = stage

    came = run(home, INSISTING, api, url, KEY)

    assert came == {way: {"whole": wanted, "streamed": wanted} for way, wanted in INSISTED.items()}
