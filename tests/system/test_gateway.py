"""The gateway as clients meet it: HTTP in, the simulated services behind."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.gateway.body import MAX_BODY
from support.programs import KEY, Home, Simulator
from support.sdks import anthropic, openai

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
TOOL = {
    "name": "write",
    "description": "Write a file.",
    "input_schema": {
        "type": "object",
        "properties": {"filePath": {"type": "string"}, "content": {"type": "string"}},
        "required": ["filePath", "content"],
    },
}


class Stage:
    """A home, a simulator and a gateway that serve a whole module."""

    def __init__(self, home: Home, simulator: Simulator, url: str) -> None:
        self.home = home
        self.simulator = simulator
        self.url = url

    def post(
        self, body: dict[str, Any], path: str = "/v1/messages", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request."""
        given = {"x-api-key": KEY, "content-type": "application/json", **headers}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), given)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def message(self, content: Any, **more: Any) -> Any:
        """One whole answer."""
        status, _, body = self.post(asked(content, **more))
        assert status == 200, body
        return json.loads(body)

    def events(self, content: Any, **more: Any) -> list[dict[str, Any]]:
        """One streamed answer, event by event."""
        status, _, body = self.post(asked(content, stream=True, **more))
        assert status == 200, body
        return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ")]

    def state_becomes(self, wanted: str) -> bool:
        """Whether the account is stored so soon; it is written down after the answer."""
        end = time.monotonic() + 60
        while (state := self.home.accounts()[0].get("state")) != wanted and time.monotonic() < end:
            time.sleep(0.05)
        return bool(state == wanted)

    def last_turn(self) -> dict[str, Any]:
        """The current message of the newest call that the service got."""
        state = self.simulator.calls()[-1]["body"]["conversationState"]
        return state["currentMessage"]["userInputMessage"]


def asked(content: Any, **more: Any) -> dict[str, Any]:
    messages = content if isinstance(content, list) and "role" in content[0] else None
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1000,
        "messages": messages or [{"role": "user", "content": content}],
        **more,
    }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield Stage(home, simulator, url)


def text_of(message: Any) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def test_a_whole_answer_and_a_streamed_one_say_the_same(stage: Stage) -> None:
    whole = stage.message("Say hello.")
    events = stage.events("Say hello.")

    streamed = "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")
    assert text_of(whole) == streamed != ""
    assert whole["stop_reason"] == "end_turn"
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"]
    assert whole["usage"]["input_tokens"] > 0


def test_a_model_that_only_the_list_knows_is_found_by_the_first_requests(
    stage: Stage, tmp_path: Path
) -> None:
    """Its name for clients is not the service's, and a new gateway has not read the list yet."""
    home = Home(tmp_path)
    home.environment |= {k: v for k, v in stage.home.environment.items() if k.startswith("KIRO_ENDPOINT_")}
    home.run("login", "--builder-id", "--no-browser")
    [account] = home.accounts()  # another person's than the one of the gateway that other tests ask

    def lists() -> int:
        listed = stage.simulator.calls("ListAvailableModels")
        return len([call for call in listed if call["user"] == account["email"]])

    before = lists()
    with home.gateway() as url, ThreadPoolExecutor(4) as threads:
        fresh = Stage(home, stage.simulator, url)
        asking = [threads.submit(fresh.message, "Say hello.", model="gpt-5-6-sol") for _ in range(4)]
        answers = [text_of(each.result()) for each in asking]

    assert all(answers)
    states = [call["body"]["conversationState"] for call in stage.simulator.calls()[-4:]]
    asked_for = {state["currentMessage"]["userInputMessage"]["modelId"] for state in states}
    assert asked_for == {"gpt-5.6-sol"}
    assert lists() == before + 1


def test_system_prompt_and_tools_reach_the_service(stage: Stage) -> None:
    answer = stage.message(
        "Write a file named a.txt with the content: A", system="You are terse.", tools=[TOOL]
    )

    turn = stage.last_turn()
    [tool] = turn["userInputMessageContext"]["tools"]
    assert tool["toolSpecification"]["name"] == "write"
    assert "You are terse." in json.dumps(stage.simulator.calls()[-1]["body"])
    [call] = [block for block in answer["content"] if block["type"] == "tool_use"]
    assert (answer["stop_reason"], call["name"], call["input"]["content"]) == ("tool_use", "write", "A")


def test_a_tool_s_result_reaches_the_model_with_its_images(stage: Stage) -> None:
    messages: list[Any] = [
        {"role": "user", "content": "Write a file named a.txt with the content: A"},
        {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "write",
                    "input": {"filePath": "/a.txt", "content": "A"},
                }
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [
                        {"type": "text", "text": "done"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                }
            ],
        },
    ]
    answer = stage.message(messages, tools=[TOOL])

    turn = stage.last_turn()
    [result] = turn["userInputMessageContext"]["toolResults"]
    assert (result["toolUseId"], result["status"]) == ("toolu_1", "success")
    assert "done" in json.dumps(result["content"])
    assert turn["images"] == [{"format": "png", "source": {"bytes": PNG}}]
    assert answer["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("given", "kept"),
    [('{"filePath": "/a.txt"}', {"filePath": "/a.txt"}), ('{"filePath": "/a', {"input": '{"filePath": "/a'})],
    ids=["text of an object", "cut"],
)
def test_a_call_whose_input_a_client_kept_as_text_does_not_end_the_conversation(
    stage: Stage, given: str, kept: dict[str, Any]
) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": given}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
    messages = [
        {"role": "user", "content": "Write it."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]

    answer = stage.message(messages, tools=[TOOL])

    history = stage.simulator.calls()[-1]["body"]["conversationState"]["history"]
    [sent] = history[-1]["assistantResponseMessage"]["toolUses"]
    assert (sent["input"], answer["stop_reason"]) == (kept, "end_turn")


def test_an_effort_changed_in_mid_talk_reaches_the_service(stage: Stage) -> None:
    """As OpenCode 2.x marks it: an empty instruction, and the request's own effort as it was."""
    mark = {"role": "system", "content": [], "output_config": {"effort": "high"}}
    before = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hello."}]
    messages = [*before, {"role": "user", "content": "Once more."}, mark]

    stage.message(messages, model="claude-opus-4-6", output_config={"effort": "low"})

    sent = stage.simulator.calls()[-1]["body"]
    assert sent["additionalModelRequestFields"]["output_config"] == {"effort": "high"}
    assert stage.last_turn()["content"] == "Once more."


def test_a_subagent_has_a_conversation_of_its_own(stage: Stage) -> None:
    """OpenCode 2.x names the parent in every header but one."""
    ids = []
    for own in ("ses_parent", "ses_child", "ses_parent"):
        headers = {"x-session-affinity": "ses_parent", "x-opencode-session-id": own}
        assert stage.post(asked("Say hello."), **headers)[0] == 200
        ids.append(stage.simulator.calls()[-1]["body"]["conversationState"]["conversationId"])

    assert ids[0] == ids[2] != ids[1]


def test_images_and_documents_arrive_as_such(stage: Stage) -> None:
    stage.message(
        [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            },
            {"type": "text", "text": "What is this?"},
        ]
    )

    turn = stage.last_turn()
    assert [image["format"] for image in turn["images"]] == ["png"]
    assert [(d["format"], d["source"]["bytes"]) for d in turn["documents"]] == [("pdf", PDF)]


def test_reasoning_shows_as_reasoning_and_is_replayed_with_its_signature(stage: Stage) -> None:
    model = "claude-opus-4-6"
    thinking = {"type": "enabled", "budget_tokens": 8192}
    first = stage.message("Think about it.", model=model, thinking=thinking)
    messages = [
        {"role": "user", "content": "Think about it."},
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": "And now?"},
    ]
    again = stage.message(messages, model=model, thinking=thinking)

    [block] = [b for b in first["content"] if b["type"] == "thinking"]
    assert block["thinking"]
    assert block["signature"]
    history = stage.simulator.calls()[-1]["body"]["conversationState"]["history"]
    replayed = [
        m["assistantResponseMessage"].get("reasoningContent")
        for m in history
        if "assistantResponseMessage" in m
    ]
    assert {"text": block["thinking"], "signature": block["signature"]} in [
        r["reasoningText"] for r in replayed if r
    ]
    assert again["stop_reason"] == "end_turn"


def test_a_stop_sequence_ends_the_answer(stage: Stage) -> None:
    stage.simulator.script({"steps": [{"text": "one two STOP three"}]})

    answer = stage.message("Count.", stop_sequences=["STOP"])

    assert (text_of(answer).strip(), answer["stop_reason"]) == ("one two", "stop_sequence")
    assert answer["stop_sequence"] == "STOP"


@pytest.mark.parametrize("cut", ["frame", "reset"])
def test_a_stream_that_breaks_off_after_text_ends_as_a_failure(stage: Stage, cut: str) -> None:
    stage.simulator.script({"steps": [{"text": "Once upon a time"}, {"cut": cut}]})

    events = stage.events("Tell.")

    assert "Once" in json.dumps(events)
    assert (events[-1]["type"], events[-1]["error"]["type"]) == ("error", "api_error")
    assert "broke off" in events[-1]["error"]["message"]


def test_a_stream_that_ends_at_a_frame_s_edge_without_its_figures_ends_as_cut_short(stage: Stage) -> None:
    stage.simulator.script({"steps": [{"text": "Once upon a time"}, {"cut": "clean"}]})

    events = stage.events("Tell.")

    assert "Once" in json.dumps(events)
    assert [event["delta"]["stop_reason"] for event in events if event["type"] == "message_delta"] == [
        "max_tokens"
    ]
    assert events[-1]["type"] == "message_stop"


def test_a_cut_inside_a_tool_call_yields_no_call(stage: Stage) -> None:
    stage.simulator.script(
        {
            "steps": [
                {"text": "Writing."},
                {"tool": {"name": "write", "input": {"filePath": "/x", "content": "half"}}},
                {"cut": "tool"},
            ]
        }
    )

    events = stage.events("Write.", tools=[TOOL])

    assert "tool_use" not in {e.get("content_block", {}).get("type") for e in events}
    assert "[The call of the tool write was cut off, and was not run.]" in json.dumps(events)
    assert events[-1]["type"] == "message_stop"


REFUSALS = [
    pytest.param(
        {"type": "ValidationException", "reason": "CONTENT_LENGTH_EXCEEDS_THRESHOLD",
         "message": "Input is too long.", "status": 400},
        400, "prompt is too long", 1, id="overflow"),
    pytest.param(
        {"type": "ValidationException", "reason": "REQUEST_BODY_INVALID",
         "message": "Improperly formed request.", "status": 400},
        400, "malformed", 1, id="malformed"),
    pytest.param(
        {"type": "ValidationException", "message": "Improperly formed request.", "status": 400},
        400, "malformed", 1, id="without a reason"),
]  # fmt: skip


@pytest.mark.parametrize(("refusal", "status", "word", "calls"), REFUSALS)
def test_a_refused_request_is_a_real_http_error_that_is_not_repeated(
    stage: Stage, refusal: dict[str, Any], status: int, word: str, calls: int
) -> None:
    before = len(stage.simulator.calls())
    stage.simulator.script({"refuse": refusal})

    answered, headers, body = stage.post(asked("Hello", stream=True))

    error = json.loads(body)
    assert (answered, error["type"]) == (status, "error")
    assert headers["x-should-retry"] == "false"
    assert word in error["error"]["message"]
    assert len(stage.simulator.calls()) - before == calls


def test_a_model_that_the_list_lacks_is_said_so_at_once(stage: Stage) -> None:
    answered, headers, body = stage.post({**asked("Hello"), "model": "claude-sonnet-9-9"})

    assert (answered, headers["x-should-retry"]) == (404, "false")
    assert "The model 'claude-sonnet-9-9' is unknown" in json.loads(body)["error"]["message"]


@pytest.mark.clients
def test_a_throttle_after_output_is_remembered_of_the_account_and_waited_for(stage: Stage) -> None:
    throttle = {
        "type": "ThrottlingException",
        "reason": "USER_REQUEST_RATE_EXCEEDED",
        "message": "Slow down.",
    }
    stage.simulator.script({"steps": [{"text": "Once"}, {"exception": throttle}]})

    events = stage.events("Tell.")

    assert (events[-1]["type"], events[-1]["error"]["type"]) == ("error", "api_error")
    assert stage.state_becomes("cooling")

    status, _, body = stage.post(asked("Hello"))

    assert (status, json.loads(body)["stop_reason"]) == (200, "end_turn")
    assert stage.state_becomes("ready")


def test_an_account_is_not_named_by_the_start_of_nothing(stage: Stage) -> None:
    refused = stage.home.run("accounts", "remove", "", check=False)

    assert refused.returncode == 1
    assert len(stage.home.accounts()) == 1


@pytest.mark.early
@pytest.mark.clients
def test_a_gateway_that_is_stopped_ends_its_streams_with_an_error(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        simulator.script({"steps": [{"text": "Once upon"}, {"hang": 60}]})
        with home.gateway() as url:
            headers = {"x-api-key": KEY, "content-type": "application/json"}
            body = json.dumps(asked("Tell.", stream=True)).encode()
            request = urllib.request.Request(f"{url}/v1/messages", body, headers)
            with urllib.request.urlopen(request, timeout=40) as answer:
                lines = iter(answer)
                next(line for line in lines if b"upon" in line)
                home.run("stop")
                rest = b"".join(lines)

    assert b"event: error" in rest
    assert b"The gateway was stopped (KA-CUT)." in rest


def test_a_wrong_or_missing_key_is_refused(stage: Stage) -> None:
    for headers in ({"x-api-key": "wrong"}, {"x-api-key": ""}):
        status, _, body = stage.post(asked("Hello"), **headers)

        assert status == 401
        assert json.loads(body)["error"]["type"] == "authentication_error"


def test_a_foreign_host_and_a_web_page_are_refused(stage: Stage) -> None:
    before = len(stage.simulator.calls())
    for headers, words in (
        ({"Host": "evil.example"}, "The Host header does not name this machine (KA-ORIGIN)."),
        ({"Origin": "https://evil.example"}, "Requests from web pages are not accepted (KA-ORIGIN)."),
    ):
        status, answered, body = stage.post(asked("Hello"), **headers)

        assert (status, answered["x-should-retry"]) == (403, "false")
        assert json.loads(body)["error"]["type"] == "permission_error"
        assert words in json.loads(body)["error"]["message"]
    assert len(stage.simulator.calls()) == before


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/messages", "request_too_large"),
        ("/v1/messages/count_tokens", "request_too_large"),
        ("/v1/chat/completions", "invalid_request_error"),
        ("/v1/responses", "invalid_request_error"),
    ],
)
def test_a_body_that_is_too_large_is_refused_as_that(stage: Stage, path: str, kind: str) -> None:
    status, headers, body = stage.post(asked("a" * MAX_BODY), path)

    assert (status, headers["x-should-retry"]) == (413, "false")
    error = json.loads(body)["error"]
    assert error["type"] == kind
    assert error["message"].startswith("The request is larger than")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "missing required field `model`"),
        ({"model": "x"}, "missing required field `messages`"),
        ({"model": "x", "messages": []}, "`messages`"),
        ({"model": 1, "messages": []}, "`model`: Expected `str`"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_read_names_the_field(
    stage: Stage, body: dict[str, Any], words: str
) -> None:
    status, _, answer = stage.post(body)

    assert status == 400
    assert words in json.loads(answer)["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v2/models", 404), ("DELETE", "/v1/models", 405)]
)
def test_an_address_that_is_not_here_is_named(stage: Stage, method: str, path: str, status: int) -> None:
    request = urllib.request.Request(stage.url + path, method=method, headers={"x-api-key": KEY})
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=60):
        pass

    assert refused.value.code == status
    assert f"There is no {method} {path} here (KA-REQUEST)." in json.load(refused.value)["error"]["message"]


def test_a_model_is_told_by_its_name_to_both_sdks(stage: Stage) -> None:
    with (
        openai().OpenAI(base_url=f"{stage.url}/v1", api_key=KEY) as of_openai,
        anthropic().Anthropic(base_url=stage.url, api_key=KEY) as of_anthropic,
    ):
        for model in ("claude-sonnet-4-5", "gpt-5-6-sol"):
            assert of_openai.models.retrieve(model).id == of_anthropic.models.retrieve(model).id == model
        with pytest.raises(
            openai().NotFoundError, match=r"'nonsense-1' is unknown.* The nearest that is listed is "
        ):
            of_openai.models.retrieve("nonsense-1")


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/responses", "/v1/messages/count_tokens", "/kiro/login"]
)
def test_a_body_that_is_not_the_gzip_it_says_it_is_is_the_client_s_fault(stage: Stage, path: str) -> None:
    headers = {"x-api-key": KEY, "content-encoding": "gzip", "content-type": "application/json"}
    request = urllib.request.Request(stage.url + path, b"not gzip", headers)
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=60):
        pass

    assert refused.value.code == 400
    assert "body cannot be read" in json.load(refused.value)["error"]["message"]


def test_tokens_are_counted_without_a_call(stage: Stage) -> None:
    before = len(stage.simulator.calls())

    status, _, body = stage.post(
        {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "word " * 1000}]},
        "/v1/messages/count_tokens",
    )

    assert status == 200
    assert 800 < json.loads(body)["input_tokens"] < 2500
    assert len(stage.simulator.calls()) == before


def test_the_models_are_listed(stage: Stage) -> None:
    request = urllib.request.Request(f"{stage.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        listed = json.load(answer)["data"]

    assert {"claude-sonnet-4-5", "claude-haiku-4-5"} <= {model["id"] for model in listed}


def test_the_official_sdk_reads_a_stream_with_a_tool_call(stage: Stage) -> None:
    client = anthropic().Anthropic(base_url=stage.url, api_key=KEY, max_retries=0)
    with client.messages.stream(
        model="claude-opus-4-6",
        max_tokens=1000,
        messages=[{"role": "user", "content": "Write a file named a.txt with the content: A"}],
        tools=[TOOL],
    ) as stream:
        message = stream.get_final_message()
    client.close()

    assert message.stop_reason == "tool_use"
    assert next(block.input for block in message.content if block.type == "tool_use")["content"] == "A"


def test_a_token_that_the_service_no_longer_accepts_is_renewed_once_and_nobody_notices(stage: Stage) -> None:
    stage.simulator.ask("advance", {"seconds": 7200})
    refreshed = len(stage.simulator.calls("CreateToken"))

    assert text_of(stage.message("Still there?"))
    assert len(stage.simulator.calls("CreateToken")) == refreshed + 1


def test_commands_tell_the_same_as_the_service(stage: Stage, tmp_path: Path) -> None:
    metered = {"name": "meteringEvent", "payload": {"usage": 0.123, "unit": "credit"}}
    stage.simulator.script({"steps": [{"text": "Hi"}, {"event": metered}, {"tail": {"withMetering": False}}]})
    stage.message("Say hello.")
    [account] = stage.home.json("accounts")["accounts"]
    end = time.monotonic() + 60
    while (usage := stage.home.json("usage")["accounts"][0])["lastTurn"] != 0.123:
        assert time.monotonic() < end, "what was metered is kept some time after the answer"
        time.sleep(0.2)
    models = stage.home.json("models")["models"]

    assert (account["kind"], account["state"]) == ("builder-id", "ready")
    assert 0 < usage["used"] < usage["limit"]
    assert usage["lastTurn"] <= usage["used"]
    told = stage.home.run("usage").stdout.splitlines()[-1]
    assert told.startswith(f"{account['name']}: ")
    assert told.lower().endswith(f"the last turn took {usage['lastTurn']:g} credits")
    assert "claude-sonnet-4-5" in {model["id"] for model in models}
    shown = stage.home.run("accounts", "show", account["name"]).stdout
    for secret in ("accessToken", "refreshToken", "clientSecret"):
        stored = stage.home.accounts()[0][secret]
        assert stored not in shown
