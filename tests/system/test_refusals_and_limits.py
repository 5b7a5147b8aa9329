"""Refusals and limits as the service has them, met by clients of all three APIs."""

from __future__ import annotations

from typing import Any

import pytest

from support.programs import KEY, Home, Simulator
from support.said import Said, streamed
from support.serving import Served, serving
from support.storing import HandStore

pytestmark = pytest.mark.timeout(120)

KEYED = {"x-api-key": KEY}
THINKER = "claude-opus-4.6"
START_URL = "https://d-1234567890.awsapps.com/start"
ADA, LINUS = "ada@example.com", "linus@example.org"
LIMIT_FIELDS = {
    "/v1/messages": "max_tokens",
    "/v1/chat/completions": "max_completion_tokens",
    "/v1/responses": "max_output_tokens",
}
PATHS = list(LIMIT_FIELDS)
EFFORT: dict[str, dict[str, Any]] = {
    "/v1/messages": {"output_config": {"effort": "low"}},
    "/v1/chat/completions": {"reasoning_effort": "medium"},
    "/v1/responses": {"reasoning": {"effort": "high"}},
}


@pytest.fixture
def home(served: tuple[Home, Simulator]) -> Home:
    return served[0]


@pytest.fixture
def simulator(served: tuple[Home, Simulator]) -> Simulator:
    sign_in(*served, ADA)
    return served[1]


def sign_in(home: Home, simulator: Simulator, email: str, **fields: Any) -> None:
    """Store what a finished sign-in holds."""
    held = simulator.ask("sign-in", {"user": email})
    names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region", "profileArn")
    record = {name: held[name] for name in names if held[name]}
    name = email.partition("@")[0]
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": name * 4, "label": name, "expiresAt": 4e12, **record, **fields})


def body_for(path: str, model: str, words: str = "Tell me a story.", **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "stream": True, **more}
    if path == "/v1/responses":
        return body | {"input": words}
    if path == "/v1/messages":
        body.setdefault("max_tokens", 5000)
    return body | {"messages": [{"role": "user", "content": words}]}


async def answer(gateway: Served, path: str, model: str, words: str = "Tell.", **more: Any) -> Said:
    """What a stream says."""
    body = body_for(path, model, words, **more)
    async with gateway.http.post(gateway.url + path, json=body, headers=KEYED) as response:
        text = await response.read()
        assert response.status == 200, text
        return streamed(path, text)


async def refused(
    gateway: Served, path: str, model: str = "claude-sonnet-4-5", **more: Any
) -> tuple[int, str]:
    """Status and message of a failure."""
    body = body_for(path, model, **more)
    async with gateway.http.post(gateway.url + path, json=body, headers=KEYED) as response:
        return response.status, (await response.json(content_type=None))["error"]["message"]


def fields_sent(simulator: Simulator) -> list[Any]:
    return [call["body"].get("additionalModelRequestFields") for call in simulator.calls()]


# ------------------------------------------------------------------------------------------ length


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("limit", "sent"), [(300, 1024), (2048, 2048), (500_000, 128_000)], ids=["small", "fitting", "large"]
)
async def test_a_limit_goes_to_kiro_where_the_model_has_one_and_is_kept_either_way(
    home: Home, simulator: Simulator, path: str, limit: int, sent: int
) -> None:
    simulator.script({"steps": [{"text": "word " * 3000}]})
    async with serving(home) as gateway:
        await gateway.get("/v1/models")  # until then the list is not known
        said = await answer(gateway, path, THINKER, **{LIMIT_FIELDS[path]: limit})

    assert fields_sent(simulator) == [{"max_tokens": sent}]
    short = limit < 3750
    assert said.ends == ENDS[path]["length" if short else "end"]
    assert len(said.text) == (limit * 4 if short else 15_000)


@pytest.mark.parametrize("path", PATHS)
async def test_a_limit_of_a_model_without_one_is_kept_here(
    home: Home, simulator: Simulator, path: str
) -> None:
    simulator.script({"steps": [{"text": "word " * 40}, {"hang": 60}]})
    async with serving(home) as gateway:
        said = await answer(gateway, path, "claude-sonnet-4-5", **{LIMIT_FIELDS[path]: 7})

    assert (said.text, said.ends) == (("word " * 40)[:28], ENDS[path]["length"])
    assert fields_sent(simulator) == [None]


@pytest.mark.parametrize(
    ("path", "off"),
    [
        ("/v1/messages", {"thinking": {"type": "disabled"}}),
        ("/v1/chat/completions", {"reasoning_effort": "none"}),
        ("/v1/responses", {"reasoning": {"effort": "none"}}),
    ],
)
@pytest.mark.parametrize(
    ("model", "fields"),
    [(THINKER, {"thinking": {"type": "disabled"}}), ("gpt-5.6-sol", {"reasoning": {"effort": "none"}})],
)
async def test_thinking_that_is_off_is_sent_as_off(
    home: Home, simulator: Simulator, path: str, off: dict[str, Any], model: str, fields: dict[str, Any]
) -> None:
    async with serving(home) as gateway:
        await gateway.get("/v1/models")
        said = await answer(gateway, path, model, **off)

    [sent] = fields_sent(simulator)
    assert {name: value for name, value in sent.items() if name != "max_tokens"} == fields
    assert said.reasoning == ""


async def test_hidden_reasoning_is_no_thought_and_goes_back_as_it_came(
    home: Home, simulator: Simulator
) -> None:
    async with serving(home) as gateway:
        status, _, first = await gateway.ask("Hello.", model="gpt-5.6-sol", max_tokens=3000)
        assert status == 200
        talk = [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": "Go on."},
        ]
        status, _, _ = await gateway.ask(model="gpt-5.6-sol", messages=talk)

    assert status == 200, "the simulator takes the signature with its own text only"
    thought = first["content"][-1]
    assert (thought["type"], thought["thinking"]) == ("thinking", "")
    history = simulator.calls()[1]["body"]["conversationState"]["history"]
    reasoning = history[1]["assistantResponseMessage"]["reasoningContent"]
    assert reasoning == {"reasoningText": {"text": "...", "signature": thought["signature"]}}


# ------------------------------------------------------------------------------------ refused settings


async def test_a_sign_in_whose_settings_are_refused_is_asked_without_them_from_then_on(
    home: Home, simulator: Simulator
) -> None:
    store = HandStore(home.config, home.state / "locks")
    store.change_account("ada" * 4, {"state": "disabled"})
    sign_in(home, simulator, LINUS, authMethod="sso", ssoStartUrl=START_URL)
    simulator.ask("settings", {"noExtraFields": ["idc"]})
    async with serving(home) as gateway:
        for words in ("Once.", "Twice.", "Thrice."):
            await answer(gateway, "/v1/messages", THINKER, words, output_config={"effort": "high"})

    statuses = [call["status"] for call in simulator.calls()]
    assert statuses == [400, 200, 200, 200]
    assert [fields is not None for fields in fields_sent(simulator)] == [True, False, False, False]


@pytest.mark.parametrize("path", PATHS)
async def test_a_host_that_refuses_settings_whatever_is_sent_is_sent_them_once(
    home: Home, simulator: Simulator, path: str
) -> None:
    words = "additionalModelRequestFields: this model has none."
    simulator.script(*[{"refuse": {"type": "ValidationException", "status": 400, "message": words}}] * 9)
    async with serving(home) as gateway:
        await gateway.get("/v1/models")
        told = [await refused(gateway, path, THINKER, **EFFORT[path]) for _ in range(3)]

    assert [fields is not None for fields in fields_sent(simulator)] == [True, False, False, False]
    assert {status for status, _ in told} == {400 if path == "/v1/responses" else 424}
    assert len({message for _, message in told}) == 1
    assert "refused without them too" in told[0][1]


# -------------------------------------------------------------------------------- limits told in words


@pytest.mark.parametrize(
    ("words", "when"),
    [
        ("Your 60-minute credit allowance is spent.", "this hour"),
        ("The daily limit is reached, return tomorrow.", "today"),
        ("Maximum number of requests reached for this month.", "this month"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_a_limit_told_in_words_is_shown_at_once_and_not_asked_for_again(
    home: Home, simulator: Simulator, words: str, when: str, path: str
) -> None:
    simulator.script(*[{"refuse": {"type": "ThrottlingException", "message": words}}] * 9)
    async with serving(home) as gateway:
        first, second = await refused(gateway, path), await refused(gateway, path)
        assert gateway.pauses == []

    assert len(simulator.calls()) == 1
    assert first[0] == second[0] == (400 if path == "/v1/responses" else 402)
    for _, message in (first, second):
        assert f"limit for {when} is used up" in message
        assert words in message


async def test_a_throttle_of_unknown_words_quotes_them(home: Home, simulator: Simulator) -> None:
    refusal = {"type": "ThrottlingException", "message": "The moon is full."}
    simulator.script(*[{"refuse": refusal}] * 9)
    async with serving(home, rate_limit_max_retries=0) as gateway:
        status, message = await refused(gateway, "/v1/messages")

    assert status == 429
    assert "It said: The moon is full." in message


# --------------------------------------------------------------------------------------- stop reasons

ENDS = {
    "/v1/messages": {
        "end": "end_turn", "length": "max_tokens", "filter": "refusal", "stop": "stop_sequence",
    },
    "/v1/chat/completions": {
        "end": "stop", "length": "length", "filter": "content_filter", "stop": "stop",
    },
    "/v1/responses": {
        "end": "completed", "length": "incomplete", "filter": "incomplete", "stop": "completed",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        ("max_tokens", "length"),
        ("Length_Limit", "length"),
        ("guardrail_intervened", "filter"),
        ("STOP_SEQUENCE", "stop"),
        ("MALFORMED_MODEL_OUTPUT", None),
        ("malformed_tool_use", None),
    ],
)
@pytest.mark.parametrize("path", PATHS)
async def test_how_a_reply_ended_is_told_truly(
    home: Home, simulator: Simulator, path: str, reason: str, ends: str | None
) -> None:
    simulator.script({"steps": [{"text": "part"}, {"tail": {"stopReason": reason}}]})
    async with serving(home) as gateway:
        said = await answer(gateway, path, "claude-sonnet-4-5")

    assert said.text == "part"
    if ends is None:
        assert said.ends is None
        assert said.failure is not None
        assert "broke off" in said.failure
    else:
        assert (said.ends, said.failure) == (ENDS[path][ends], None)


async def test_a_locked_account_s_usage_call_passes_on_the_address_of_the_form(
    home: Home, simulator: Simulator
) -> None:
    simulator.ask("user", {"email": ADA, "suspended": True})
    done = home.run("usage", check=False)

    assert "https://support.aws.amazon.com/#/contacts/kiro" in done.stdout + done.stderr
