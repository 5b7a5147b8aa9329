"""A search of the web on every API, from the client's request to the service's own tool and back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.programs import KEY, Home, Services, Simulator
from support.serving import Served, serving

MODEL = "claude-sonnet-4-5"
RAIN = "Search the web for: rain in Graz"
PAGE = {"title": "Graz weather", "url": "https://graz.example/rain", "snippet": "Rain until noon."}
ANSWER = "It rains until noon: [Graz weather](https://graz.example/rain)."
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
APIS = pytest.mark.parametrize("path", PATHS)


class Stage:
    def __init__(self, home: Home, simulator: Simulator, served: Served) -> None:
        self.home = home
        self.simulator = simulator
        self.served = served

    async def ask(self, path: str, words: str = RAIN, *, stream: bool = False, **more: Any) -> Any:
        """The reply: the message or response as an object, or the events of the stream."""
        body = {"model": MODEL, "stream": stream, **_asking(path, words), **more}
        headers = {"x-api-key": KEY}
        async with self.served.http.post(self.served.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text
        if not stream:
            return json.loads(text)
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
        return [json.loads(line) for line in lines]

    def operations(self) -> list[str]:
        """What the service was asked, in order: chats, and the methods of its own tools."""
        told = {"GenerateAssistantResponse": "chat", "InvokeMCP": None}
        calls = [call for call in self.simulator.ask("calls")["calls"] if call["operation"] in told]
        return [told[call["operation"]] or call["body"]["method"] for call in calls]


def _asking(path: str, words: str) -> dict[str, Any]:
    turn = {"role": "user", "content": words}
    match path:
        case "/v1/messages":
            search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
            return {"max_tokens": 900, "messages": [turn], "tools": [search]}
        case "/v1/chat/completions":
            return {
                "messages": [turn],
                "web_search_options": {},
                "stream_options": {"include_usage": True},
            }
    return {"input": [turn], "tools": [{"type": "web_search"}]}


@pytest.fixture
async def stage(tmp_path: Path, services: Services) -> AsyncIterator[Stage]:
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    async with serving(home) as served:
        yield Stage(home, simulator, served)


def said(reply: Any) -> str:
    """All of a reply as text, to look for words in it."""
    return json.dumps(reply, ensure_ascii=False)


def searched(path: str, reply: Any) -> list[Any]:
    """The client's own blocks of the searches; Chat Completions has none."""
    if isinstance(reply, list):
        match path:
            case "/v1/messages":
                blocks = [event.get("content_block", {}) for event in reply]
                return [block for block in blocks if block.get("type") == "web_search_tool_result"]
            case "/v1/responses":
                return [item for item in reply[-1]["response"]["output"] if item["type"] == "web_search_call"]
        return []
    found = reply.get("content") or reply.get("output") or []
    return [item for item in found if item["type"] in ("web_search_tool_result", "web_search_call")]


def citations(path: str, reply: Any) -> list[str]:
    match path, reply:
        case "/v1/messages", list():
            deltas = [event["delta"] for event in reply if event["type"] == "content_block_delta"]
            return [delta["citation"]["url"] for delta in deltas if delta["type"] == "citations_delta"]
        case "/v1/messages", _:
            return [each["url"] for block in reply["content"] for each in block.get("citations", ())]
        case "/v1/chat/completions", list():
            deltas = [event["choices"][0]["delta"] for event in reply if event["choices"]]
            found = [each for delta in deltas for each in delta.get("annotations", ())]
            return [each["url_citation"]["url"] for each in found]
        case "/v1/chat/completions", _:
            message = reply["choices"][0]["message"]
            return [each["url_citation"]["url"] for each in message.get("annotations", ())]
    output = reply[-1]["response"]["output"] if isinstance(reply, list) else reply["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return [each["url"] for part in parts for each in part["annotations"]]


@WAYS
@APIS
async def test_the_model_s_search_is_run_and_its_sources_are_the_client_s(
    stage: Stage, path: str, stream: bool
) -> None:
    stage.simulator.ask("search", [{"contains": "rain", "results": [PAGE]}])
    call = {"tool": {"name": "web_search", "input": {"query": "rain in Graz"}}}
    stage.simulator.script({"steps": [call]}, {"steps": [{"text": ANSWER}]})

    reply = await stage.ask(path, stream=stream)

    assert stage.operations() == ["chat", "tools/list", "tools/call", "chat"]
    second = stage.simulator.calls()[-1]["body"]["conversationState"]
    current = second["currentMessage"]["userInputMessage"]["userInputMessageContext"]
    [result] = current["toolResults"]
    assert result["status"] == "success"
    assert "Rain until noon." in said(result["content"])
    assert second["history"][-1]["assistantResponseMessage"]["toolUses"][0]["name"] == "web_search"
    assert citations(path, reply) == [PAGE["url"]]
    if path != "/v1/chat/completions":
        [block] = searched(path, reply)
        assert PAGE["url"] in said(block)


@APIS
async def test_the_next_turn_brings_the_search_back_to_the_service(stage: Stage, path: str) -> None:
    reply = await stage.ask(path)
    follow_up = {"role": "user", "content": "Thank you."}
    asked = _asking(path, RAIN)
    if path == "/v1/responses":
        asked["input"] += [*reply["output"], follow_up]
    elif path == "/v1/messages":
        asked["messages"] += [{"role": "assistant", "content": reply["content"]}, follow_up]
    else:
        asked["messages"] += [reply["choices"][0]["message"], follow_up]
    before = stage.simulator.calls()[-1]["body"]["conversationState"]

    await stage.ask(path, **asked)

    after = stage.simulator.calls()[-1]["body"]["conversationState"]
    if path == "/v1/messages":  # the very same call and result, so that Kiro's cache of the prefix holds
        assert after["history"][: len(before["history"])] == before["history"]
        current = before["currentMessage"]["userInputMessage"]["userInputMessageContext"]
        again = after["history"][len(before["history"])]["userInputMessage"]["userInputMessageContext"]
        assert again["toolResults"] == current["toolResults"]
    assert "https://news.example.com/rain-in-graz" in said(after["history"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("words", ["Perform a web search for the query: rain in Graz", "rain in Graz"])
async def test_a_search_that_the_client_insists_on_is_run_though_the_model_would_rather_guess(
    stage: Stage, words: str, stream: bool
) -> None:
    stage.simulator.script({"steps": [{"text": "I guess it is sunny."}]}, {"steps": [{"text": ANSWER}]})
    choice = {"type": "tool", "name": "web_search"}

    reply = await stage.ask("/v1/messages", words, stream=stream, tool_choice=choice)

    calls = stage.simulator.calls("InvokeMCP")
    assert calls[-1]["body"]["params"]["arguments"] == {"query": "rain in Graz"}
    assert "sunny" not in said(reply)
    assert len(searched("/v1/messages", reply)) == 1


FAULTS: list[Any] = [
    pytest.param({"search": [{"isError": True}]}, "unavailable", id="the tool failed"),
    pytest.param({"search": [{"error": {"code": -32602, "message": "query is required"}}]},
                 "invalid_tool_input", id="the query is no query"),
    pytest.param({"search": [{"error": {"message": "query exceeds the maximum length"}}]},
                 "query_too_long", id="the query is too long"),
    pytest.param({"settings": {"webTools": False}}, "unavailable", id="the organisation allows none"),
    pytest.param({"fault": {"operation": "InvokeMCP", "times": 9, "status": 429,
                            "body": {"__type": "ThrottlingException", "message": "Slow down."}}},
                 None, id="a throttle"),
    pytest.param({"fault": {"operation": "InvokeMCP", "times": 9, "status": 404,
                            "body": {"__type": "UnknownOperationException"}}},
                 "unavailable", id="the region has none"),
    pytest.param({"fault": {"operation": "InvokeMCP", "times": 9, "lost": True}},
                 "unavailable", id="no line"),
]  # fmt: skip


@WAYS
@APIS
@pytest.mark.parametrize(("orders", "fault"), FAULTS)
async def test_model_and_client_are_told_of_a_search_that_gives_nothing_and_the_account_stays_well(
    stage: Stage, path: str, stream: bool, orders: dict[str, Any], fault: str | None
) -> None:
    for order, body in orders.items():
        stage.simulator.ask(order, body)

    reply = await stage.ask(path, stream=stream)

    told = stage.simulator.calls()[-1]["body"]["conversationState"]["currentMessage"]["userInputMessage"]
    [result] = told["userInputMessageContext"]["toolResults"]
    assert result["status"] == "error"
    assert "Nothing was searched" in said(result)
    if path == "/v1/chat/completions":
        whole = "".join(
            event["choices"][0]["delta"].get("content", "") for event in reply if event["choices"]
        ) if stream else reply["choices"][0]["message"]["content"]  # fmt: skip
        assert "The web was not searched" in whole
    else:
        [block] = searched(path, reply)
        if path == "/v1/messages":
            assert block["content"]["error_code"] == (fault or block["content"]["error_code"])
        else:
            assert block["status"] == "failed"
    assert (await stage.ask("/v1/messages", "Say hello."))["content"]
    [account] = (await stage.served.get("/kiro/accounts"))["accounts"]
    assert account["state"] == "ready"


async def test_where_there_is_no_search_nobody_is_asked_for_it_again_so_soon(stage: Stage) -> None:
    stage.simulator.ask("settings", {"webTools": False})
    for _ in range(3):
        await stage.ask("/v1/messages")

    assert stage.operations().count("tools/list") == 1
    assert stage.operations().count("tools/call") == 0


@pytest.mark.parametrize("uses", [1, 2])
async def test_no_more_searches_are_made_than_the_client_allows(stage: Stage, uses: int) -> None:
    call = {"tool": {"name": "web_search", "input": {"query": "more"}}}
    stage.simulator.script(*[{"steps": [call]}] * 9)
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": uses}

    reply = await stage.ask("/v1/messages", tools=[tool])

    assert stage.operations().count("tools/call") == uses
    assert stage.operations().count("chat") == uses + 2
    assert reply["usage"]["server_tool_use"]["web_search_requests"] == uses
    assert "max_uses_exceeded" in said(reply["content"])
    assert reply["stop_reason"] == "end_turn"


async def test_pages_of_other_domains_than_the_client_s_reach_neither_model_nor_client(stage: Stage) -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["example.org"]}
    reply = await stage.ask("/v1/messages", tools=[tool])

    assert "wiki.example.org" in said(reply)
    assert "news.example.com" not in said(reply)
    assert "news.example.com" not in said(stage.simulator.calls()[-1]["body"])


@WAYS
async def test_a_tool_of_the_client_s_beside_the_search_ends_the_turn_with_both(
    stage: Stage, stream: bool
) -> None:
    steps = [
        {"tool": {"name": "web_search", "input": {"query": "rain"}}},
        {"tool": {"name": "note", "input": {"text": "x"}, "id": "note_1"}},
    ]
    stage.simulator.script({"steps": steps})
    tools = [
        *_asking("/v1/messages", RAIN)["tools"],
        {"name": "note", "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}}},
    ]
    reply = await stage.ask("/v1/messages", stream=stream, tools=tools)

    assert stage.operations() == ["chat", "tools/list", "tools/call"]
    assert len(searched("/v1/messages", reply)) == 1
    if stream:
        return
    assert reply["stop_reason"] == "tool_use"
    turns = [
        {"role": "user", "content": RAIN},
        {"role": "assistant", "content": reply["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "note_1", "content": "Noted."}]},
    ]
    await stage.ask("/v1/messages", messages=turns, tools=tools)
    state = stage.simulator.calls()[-1]["body"]["conversationState"]
    current = state["currentMessage"]["userInputMessage"]["userInputMessageContext"]
    assert "Noted." in said(current["toolResults"])
    assert "News of rain" in said(state)


# ------------------------------------------------------------------------------ several calls, one turn

THROTTLED = {"refuse": {"type": "ThrottlingException", "message": "Slow down.", "reason": None}}
SEARCH = {"steps": [{"tool": {"name": "web_search", "input": {"query": "rain"}}}]}


@WAYS
@APIS
async def test_a_throttle_between_the_calls_of_an_answer_is_waited_out_and_nothing_is_said_twice(
    stage: Stage, path: str, stream: bool
) -> None:
    stage.simulator.script(SEARCH, THROTTLED, {"steps": [{"text": ANSWER}]})

    reply = await stage.ask(path, stream=stream)

    assert stage.served.pauses, "it was waited"
    assert stage.operations() == ["chat", "tools/list", "tools/call", "chat", "chat"]
    if path != "/v1/chat/completions":
        assert len(searched(path, reply)) == 1
    assert citations(path, reply) == []


@WAYS
async def test_another_account_goes_on_with_an_answer_when_the_first_is_used_up(
    stage: Stage, stream: bool
) -> None:
    stage.home.run("login", "--builder-id", "--no-browser")
    used_up = {"refuse": {"type": "ServiceQuotaExceededException", "message": "You have reached the limit.",
                          "reason": "MONTHLY_REQUEST_COUNT"}}  # fmt: skip
    stage.simulator.script(SEARCH, used_up, {"steps": [{"text": ANSWER}]})

    reply = await stage.ask("/v1/messages", stream=stream)

    assert len(searched("/v1/messages", reply)) == 1
    assert "https://graz.example/rain" in said(reply)
    first, refused, last = [call["user"] for call in stage.simulator.calls()]
    assert first == refused != last


async def test_an_answer_whose_second_call_is_refused_for_good_ends_as_a_failure(stage: Stage) -> None:
    refusal = {"refuse": {"type": "ValidationException", "message": "Input is too long.",
                          "reason": "CONTENT_LENGTH_EXCEEDS_THRESHOLD"}}  # fmt: skip
    stage.simulator.script(SEARCH, refusal)

    events = await stage.ask("/v1/messages", stream=True)

    assert events[-1]["type"] == "error"
    assert stage.operations() == ["chat", "tools/list", "tools/call", "chat"]
    opened = [event["index"] for event in events if event["type"] == "content_block_start"]
    closed = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert opened == closed


async def test_what_all_calls_used_is_told_together(stage: Stage) -> None:
    reply = await stage.ask("/v1/messages")
    alone = await stage.ask("/v1/messages", "Say hello.")

    assert reply["usage"]["input_tokens"] > alone["usage"]["input_tokens"]
    assert "server_tool_use" not in alone["usage"]


async def test_an_organisation_served_where_there_is_no_search_is_told_so(
    tmp_path: Path, services: Services
) -> None:
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    start = "https://d-1234567890.awsapps.com/start"
    home.run("login", "--start-url", start, "--region", "eu-north-1", "--no-browser")
    async with serving(home) as served:
        reply = await Stage(home, simulator, served).ask("/v1/messages")

    [block] = searched("/v1/messages", reply)
    assert block["content"]["error_code"] == "unavailable"
    assert {call["region"] for call in simulator.calls("InvokeMCP")} == {"eu-central-1"}


@WAYS
async def test_the_client_is_told_in_a_header_which_of_its_tools_are_not_there(
    stage: Stage, stream: bool
) -> None:
    tools = [{"type": "file_search"}, {"type": "mcp", "server_label": "Büro\r\nx-injected: 1"}]
    body = {"model": MODEL, "input": "Say hello.", "tools": tools, "stream": stream}
    url = f"{stage.served.url}/v1/responses"
    async with stage.served.http.post(url, json=body, headers={"x-api-key": KEY}) as answer:
        await answer.read()

    assert answer.headers["x-kiro-tools-not-offered"] == "file_search, mcp (B?ro??x-injected: 1)"
    assert "x-injected" not in answer.headers
