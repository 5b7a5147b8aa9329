"""AWS's own JavaScript client reads what the running simulator writes, and sends what it takes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from kiro_auth.simulator.refusals import STATUS
from kiro_auth.simulator.wire import sign
from support.npm import NODE, npm_package
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.timeout(700)]  # the first run downloads the client

CLIENT = "1.0.45"
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
  failure = {
    name: error.name, message: error.message, reason: error.reason ?? null,
    typed: error.constructor.name, status: error.$metadata?.httpStatusCode ?? null,
  };
}
console.log(JSON.stringify({ conversationId, events, failure }));
"""


class Client:
    """The client, signed in to a running simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._token = simulator.ask("sign-in", {"user": "ada@example.com"})["accessToken"]
        self._folder = npm_package("@aws/codewhisperer-streaming-client", CLIENT).parent.parent.parent

    def ask(self, words: str = "Hello", **message: Any) -> Any:
        """What the client printed for one request."""
        request = {
            "agentMode": "vibe",
            "conversationState": {
                "conversationId": "c-42",
                "chatTriggerType": "MANUAL",
                "currentMessage": {"userInputMessage": {"content": words, "origin": "AI_EDITOR", **message}},
            },
        }
        done = subprocess.run(
            [
                NODE,
                "--input-type=module",
                "-e",
                PROGRAM,
                self.simulator.url,
                self._token,
                json.dumps(request),
            ],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def told(self, *steps: Any) -> Any:
        """What the client printed when these steps were the reply."""
        self.simulator.script({"steps": steps})
        return self.ask()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Home(tmp_path_factory.mktemp("home")).simulator() as simulator:
        yield Client(simulator)


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


def test_the_client_sends_what_the_check_takes_and_reads_the_whole_reply(client: Client) -> None:
    answer = client.ask("Hello, wörld 🌍")

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
    call = client.simulator.calls()[-1]
    assert (call["user"], call["status"]) == ("ada@example.com", 200)
    assert call["headers"]["x-amzn-kiro-agent-mode"] == "vibe"


def test_the_client_puts_a_tool_call_together(client: Client) -> None:
    answer = client.ask(
        "Write a file named a.txt with the content: Hello", userInputMessageContext={"tools": [TOOL]}
    )

    pieces = all_of(answer, "toolUseEvent")
    assert {piece["name"] for piece in pieces} == {"write"}
    assert len({piece["toolUseId"] for piece in pieces}) == 1
    assert json.loads("".join(piece.get("input", "") for piece in pieces)) == {
        "filePath": "a.txt",
        "content": "Hello",
    }
    assert [piece.get("stop", False) for piece in pieces].index(True) == len(pieces) - 1


def test_the_client_reads_reasoning_and_its_signature(client: Client) -> None:
    answer = client.told({"reasoning": "Let me see"}, {"redacted": "AAEC"}, {"text": "Done."})

    pieces = all_of(answer, "reasoningContentEvent")
    assert "".join(piece.get("text", "") for piece in pieces) == "Let me see"
    assert pieces[-2:] == [{"signature": sign("Let me see")}, {"redactedContent": "AAEC"}]


EVENTS: list[tuple[str, Any]] = [
    ("assistantResponseEvent", {"content": "Hi", "modelId": "claude-sonnet-4.5"}),
    ("reasoningContentEvent", {"text": "Hm"}),
    ("toolUseEvent", {"toolUseId": "t1", "name": "read", "input": "{}", "stop": True}),
    (
        "toolResultEvent",
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "A"}], "status": "success"}},
    ),
    (
        "codeReferenceEvent",
        {"references": [{"licenseName": "MIT", "repository": "r", "url": "https://example.com"}]},
    ),
    ("supplementaryWebLinksEvent", {"supplementaryWebLinks": [{"url": "https://example.com", "title": "A"}]}),
    ("citationEvent", {"target": {"location": 3}, "citationLink": "https://example.com"}),
    ("citationEvent", {"target": {"range": {"start": 0, "end": 2}}, "citationLink": "https://example.com"}),
    (
        "documentCitationEvent",
        {"title": "A", "location": {"web": {"url": "https://example.com", "domain": "example.com"}}},
    ),
    ("followupPromptEvent", {"followupPrompt": {"content": "And then?"}}),
    ("codeEvent", {"content": "x = 1"}),
    ("dryRunSucceedEvent", {}),
    ("metadataEvent", {"tokenUsage": {"uncachedInputTokens": 9, "outputTokens": 2, "totalTokens": 11}}),
    ("contextUsageEvent", {"contextUsagePercentage": 12.5}),
    ("meteringEvent", {"usage": 0.5, "unit": "credit", "unitPlural": "credits"}),
    ("invalidStateEvent", {"reason": "INVALID_TASK_ASSIST_PLAN", "message": "No."}),
    ("messageMetadataEvent", {"conversationId": "c-42", "utteranceId": "u-1"}),
]  # fmt: skip


def test_the_client_reads_every_kind_of_event_as_it_was_sent(client: Client) -> None:
    steps = [{"event": {"name": name, "payload": payload}} for name, payload in EVENTS]
    silent = {"tail": {"withMetadata": False, "withContext": False, "withMetering": False}}

    answer = client.told(*steps, silent)

    assert answer["failure"] is None
    assert answer["events"][1:] == [[name, payload] for name, payload in EVENTS]


REASONS = {
    "ThrottlingException": "DAILY_REQUEST_COUNT",
    "ServiceQuotaExceededException": "MONTHLY_REQUEST_COUNT",
}


@pytest.mark.parametrize("kind", STATUS)
def test_a_refusal_is_one_of_the_client_s_own_exceptions(client: Client, kind: str) -> None:
    refusal = {"type": kind, "message": "No.", "reason": REASONS.get(kind)}
    client.simulator.script({"refuse": {name: value for name, value in refusal.items() if value}})

    failure = client.ask()["failure"]

    assert (failure["name"], failure["typed"], failure["message"]) == (kind, kind, "No.")
    assert failure["status"] == STATUS[kind]
    assert failure["reason"] == refusal["reason"]


def test_what_the_check_refuses_is_a_validation_exception_with_its_reason(client: Client) -> None:
    failure = client.ask(modelId="no-such-model")["failure"]

    assert (failure["typed"], failure["reason"]) == ("ValidationException", "INVALID_MODEL_ID")
    assert failure["message"] == "Invalid model. Please select a different model to continue."


def raised(kind: str, message: str, **more: str) -> dict[str, Any]:
    return {"exception": {"type": kind, "message": message, **more}}


ENDS: list[Any] = [
    pytest.param([raised("error", "Oh.")], "InternalServerException", "Oh.", id="typed exception"),
    pytest.param([raised("ThrottlingException", "Slow.")], "ThrottlingException", "Slow.", id="exception"),
    pytest.param([raised("InternalFailure", "Oh.", framing="error")], "InternalFailure", "Oh.", id="error"),
    pytest.param([{"cut": "frame"}], "Error", "Truncated event message received.", id="cut inside a frame"),
    pytest.param([{"pause": 0.2}, {"cut": "reset"}], "Error", "aborted", id="reset"),
]


@pytest.mark.parametrize(("end", "name", "message"), ENDS)
def test_a_broken_stream_raises_after_what_came_before(
    client: Client, end: Sequence[Any], name: str, message: str
) -> None:
    answer = client.told({"text": "Half of"}, *end)

    assert joined(answer) == "Half of"
    assert answer["failure"]["name"] == name
    assert message in answer["failure"]["message"]


@pytest.mark.parametrize("kind", ["clean", "tool"])
def test_a_cut_at_a_frame_s_edge_looks_like_an_end(client: Client, kind: str) -> None:
    answer = client.told({"tool": {"name": "write", "input": {"content": "x" * 100}}}, {"cut": kind})

    assert answer["failure"] is None
    assert all_of(answer, "meteringEvent") == []
    assert any(piece.get("stop") for piece in all_of(answer, "toolUseEvent")) == (kind == "clean")
