"""AWS's own JavaScript client reads what the simulated service writes, and sends what it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kiro_auth.simulator.agent import respond
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.script import (
    Break,
    Cut,
    Output,
    Pause,
    Raise,
    Reasoning,
    Redacted,
    Step,
    Text,
    ToolUse,
    frames,
    sign,
)
from kiro_auth.simulator.validator import check_chat, count_tokens
from support.npm import NODE, npm_package

pytestmark = [pytest.mark.real, pytest.mark.timeout(700)]  # the first run downloads the client

# One request to the service at URL; prints the events it was given, and the error if there was one.
PROGRAM = """
import { CodeWhispererStreamingClient, GenerateAssistantResponseCommand }
  from "@aws/codewhisperer-streaming-client";

const [url, token, input] = process.argv.slice(1);
const client = new CodeWhispererStreamingClient({
  endpoint: url, region: "us-east-1", maxAttempts: 1, token: { token },
});
const events = [];
let conversationId = null, failure = null;
try {
  const reply = await client.send(new GenerateAssistantResponseCommand(JSON.parse(input)));
  conversationId = reply.conversationId ?? null;
  for await (const event of reply.generateAssistantResponseResponse) {
    const [name] = Object.keys(event);
    const { redactedContent, ...payload } = event[name];
    if (redactedContent) payload.redactedContent = Buffer.from(redactedContent).toString("base64");
    events.push([name, payload]);
  }
} catch (error) {
  failure = { name: error.name, message: error.message, reason: error.reason ?? null };
}
console.log(JSON.stringify({ conversationId, events, failure }));
"""


class Service:
    """The pure parts of the simulator over HTTP: the check, then the script or else the built-in model."""

    def __init__(self) -> None:
        self.steps: list[Step] | None = None
        self.refusal: Refusal | None = None
        self.seen: list[web.Request] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        body = await request.json()
        try:
            check_chat(body, protocol="rest", models=MODELS)
            if self.refusal is not None:
                raise self.refusal
        except Refusal as refused:
            return web.json_response(
                refused.json(), status=refused.status, headers={"x-amzn-errortype": refused.type}
            )
        conversation_id = body["conversationState"].get("conversationId", "c-1")
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/vnd.amazon.eventstream",
                "x-amzn-codewhisperer-conversation-id": conversation_id,
            }
        )
        await response.prepare(request)
        steps = respond(body) if self.steps is None else self.steps
        made = frames(
            steps,
            conversation_id=conversation_id,
            protocol="rest",
            input_tokens=count_tokens(body),
            window=200_000,
        )
        for part in made:
            await _write(request, response, part)
        return response


async def _write(request: web.Request, response: web.StreamResponse, part: Output) -> None:
    match part:
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Break():
            assert request.transport is not None
            request.transport.abort()
        case bytes():
            # In two pieces, so that no frame arrives whole by luck.
            await response.write(part[:7])
            await response.write(part[7:])


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.router.add_post("/generateAssistantResponse", service.handle)
    async with TestServer(app) as server:
        service.url = str(server.make_url("/"))
        yield service


async def ask(service: Service, words: str = "Hello", **message: Any) -> Any:
    """What the client printed for one request."""
    folder = await asyncio.to_thread(npm_package, "@aws/codewhisperer-streaming-client", "1.0.45")
    request = {
        "agentMode": "vibe",
        "conversationState": {
            "conversationId": "c-42",
            "chatTriggerType": "MANUAL",
            "currentMessage": {"userInputMessage": {"content": words, "origin": "AI_EDITOR", **message}},
        },
    }
    program = await asyncio.create_subprocess_exec(
        NODE, "--input-type=module", "-e", PROGRAM, service.url, "a-token", json.dumps(request),
        cwd=folder.parent.parent.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        printed, complaints = await asyncio.wait_for(program.communicate(), 60)
    except TimeoutError:
        program.kill()
        await program.wait()
        raise
    assert program.returncode == 0, complaints.decode()
    return json.loads(printed)


def all_of(answer: Any, kind: str) -> list[Any]:
    return [payload for name, payload in answer["events"] if name == kind]


def joined(answer: Any) -> str:
    return "".join(payload["content"] for payload in all_of(answer, "assistantResponseEvent"))


TOOL = {
    "toolSpecification": {
        "name": "write",
        "description": "Write a file.",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {"filePath": {"type": "string"}, "content": {"type": "string"}},
                "required": ["filePath", "content"],
            }
        },
    }
}


async def test_the_client_sends_what_the_check_takes_and_reads_the_whole_reply(service: Service) -> None:
    answer = await ask(service, "Hello, wörld 🌍")

    assert answer["failure"] is None
    assert answer["conversationId"] == "c-42"
    assert joined(answer).endswith("You said: Hello, wörld 🌍")
    assert all_of(answer, "messageMetadataEvent") == [{"conversationId": "c-42"}]
    [metadata] = all_of(answer, "metadataEvent")
    assert metadata["tokenUsage"]["outputTokens"] > 0
    assert [name for name, _ in answer["events"]][-3:] == [
        "metadataEvent",
        "contextUsageEvent",
        "meteringEvent",
    ]
    [metering] = all_of(answer, "meteringEvent")
    assert (metering["unit"], metering["unitPlural"]) == ("credit", "credits")
    [request] = service.seen
    assert request.headers["Authorization"] == "Bearer a-token"
    assert request.headers["x-amzn-kiro-agent-mode"] == "vibe"


async def test_the_client_puts_a_tool_call_together(service: Service) -> None:
    answer = await ask(
        service,
        "Write a file named a.txt with the content: Hello",
        userInputMessageContext={"tools": [TOOL]},
    )

    pieces = all_of(answer, "toolUseEvent")
    assert {piece["name"] for piece in pieces} == {"write"}
    assert len({piece["toolUseId"] for piece in pieces}) == 1
    assert json.loads("".join(piece.get("input", "") for piece in pieces)) == {
        "filePath": "a.txt",
        "content": "Hello",
    }
    assert [piece.get("stop", False) for piece in pieces].index(True) == len(pieces) - 1


async def test_the_client_reads_reasoning_and_its_signature(service: Service) -> None:
    service.steps = [Reasoning("Let me see"), Redacted("AAEC"), Text("Done.")]

    pieces = all_of(await ask(service), "reasoningContentEvent")

    assert "".join(piece.get("text", "") for piece in pieces) == "Let me see"
    assert pieces[-2:] == [{"signature": sign("Let me see")}, {"redactedContent": "AAEC"}]


REFUSALS = [
    Refusal("ThrottlingException", "Slow down.", "DAILY_REQUEST_COUNT"),
    Refusal("ServiceQuotaExceededException", "Used up.", "MONTHLY_REQUEST_COUNT"),
    Refusal("AccessDeniedException", "Locked.", "TEMPORARILY_SUSPENDED"),
    Refusal("InternalServerException", "High load.", "MODEL_TEMPORARILY_UNAVAILABLE"),
    Refusal("ServiceUnavailableException", "Later."),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.type)
async def test_a_refusal_is_one_of_the_client_s_own_exceptions(service: Service, refusal: Refusal) -> None:
    service.refusal = refusal

    answer = await ask(service)

    assert answer["failure"] == {"name": refusal.type, "message": refusal.message, "reason": refusal.reason}


async def test_what_the_check_refuses_is_a_validation_exception_with_its_reason(service: Service) -> None:
    answer = await ask(service, modelId="no-such-model")

    assert answer["failure"] == {
        "name": "ValidationException",
        "message": "Invalid model. Please select a different model to continue.",
        "reason": "INVALID_MODEL_ID",
    }


ENDS: list[Any] = [
    pytest.param([Raise("error", "Oh.", "R")], "InternalServerException", "Oh.", id="typed exception"),
    pytest.param(
        [Raise("ThrottlingException", "Slow.", "R")], "ThrottlingException", "Slow.", id="exception"
    ),
    pytest.param([Raise("InternalFailure", "Oh.", framing="error")], "InternalFailure", "Oh.", id="error"),
    pytest.param([Cut("frame")], "Error", "Truncated event message received.", id="cut inside a frame"),
    pytest.param([Cut("reset")], "Error", "aborted", id="reset"),
]


@pytest.mark.parametrize(("end", "name", "message"), ENDS)
async def test_a_broken_stream_raises_after_what_came_before(
    service: Service, end: Sequence[Step], name: str, message: str
) -> None:
    service.steps = [Text("Half of"), *end]

    answer = await ask(service)

    assert joined(answer) == "Half of"
    assert answer["failure"]["name"] == name
    assert message in answer["failure"]["message"]


@pytest.mark.parametrize("kind", ["clean", "tool"])
async def test_a_cut_at_a_frame_s_edge_looks_like_an_end(service: Service, kind: Any) -> None:
    service.steps = [ToolUse("write", {"content": "x" * 100}), Cut(kind)]

    answer = await ask(service)

    assert answer["failure"] is None
    assert all_of(answer, "meteringEvent") == []
    assert any(piece.get("stop") for piece in all_of(answer, "toolUseEvent")) == (kind == "clean")
