"""One turn from both ends, without a socket: what is sent, what the client gets, what is told of it."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kiro_auth.conversation import Conversation, Message
from kiro_auth.events import Answered, Asked, Caller, Failed, Left, Served, Stopped
from kiro_auth.failures import Failure
from kiro_auth.gateway import pipe, streams
from kiro_auth.gateway.fallback import Rule
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.gateway.request_log import entry
from kiro_auth.surfaces.prefixes import Prefixes
from support.exchange import Answered as Answer
from support.exchange import Step
from support.frames import END, event, text
from support.relaying import Gateway

WHOLE, STREAM = False, True
HELLO: list[Step] = [text("Hello"), text(" you"), END]
THROTTLED = Failure(code="KA-THROTTLE", message="Slow down.")
USED_UP = Failure(code="KA-QUOTA", message="Used up.")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is one factor: what takes seconds takes hundredths here."""
    monkeypatch.setattr(pipe, "SILENCE", 0.1)
    monkeypatch.setattr(streams, "GRACE", 0.05)


@pytest.fixture
def never() -> asyncio.Event:
    return asyncio.Event()


class Overhearing:
    """Hears of turns, and notes what the client had of the answer by then."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.had: list[bytes] = []

    def on_turn_ended(self, _: object) -> None:
        self.had.append(self.gateway.client.written)


@pytest.mark.parametrize(
    ("path", "last"),
    [("/v1/messages", b"message_stop"), ("/v1/chat/completions", b"[DONE]"),
     ("/v1/responses", b"response.completed")],
)  # fmt: skip
@pytest.mark.parametrize("end", [END, Failure(code="KA-NETWORK", message="It broke.")])
async def test_listeners_hear_of_a_turn_once_and_before_its_client_can_know_that_it_has_ended(
    tmp_path: Path, path: str, last: bytes, end: bytes | Failure
) -> None:
    """So that what a ledger writes down is there when the gateway is killed at any moment after."""
    begun = asyncio.Event()
    last_read = [text(" you") + end] if isinstance(end, bytes) else [text(" you"), end]
    gateway = Gateway(tmp_path, [text("Hello"), begun, *last_read])
    listener = Overhearing(gateway)
    gateway.relay._listeners = (listener,)
    answering = gateway.asks(
        stream=STREAM, path=path,
        body={"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": True,
              "input" if path == "/v1/responses" else "messages": [{"role": "user", "content": "Hi"}]},
    )  # fmt: skip
    await gateway.client.has(b"Hello")
    begun.set()
    await answering

    [had] = listener.had
    ending = last if isinstance(end, bytes) else b"KA-NETWORK"
    assert (b"Hello" in had, ending in had, ending in gateway.client.written) == (True, False, True)


# ---------------------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
async def test_a_history_that_comes_again_is_sent_whole_and_only_its_end_was_read(
    tmp_path: Path, path: str
) -> None:
    kept = Prefixes(lambda: 0.0)
    gateway = Gateway(tmp_path / "a", HELLO, HELLO, HELLO, prefixes=kept)
    alone = Gateway(tmp_path / "b", HELLO)
    field = "input" if path == "/v1/responses" else "messages"
    talk = [
        {"role": ("user", "assistant")[number % 2], "content": f"{number} " * 2000} for number in range(33)
    ]
    earlier, later = ({"model": "claude-sonnet-4-5", field: talk[:count]} for count in (31, 33))
    for _ in range(2):  # what begins for the first time is not kept
        await gateway.asks(stream=WHOLE, path=path, body=earlier)
    size = kept.size
    await gateway.asks(stream=WHOLE, path=path, body=later)
    await alone.asks(stream=WHOLE, path=path, body=later)

    assert gateway.service.sent[-1] == alone.service.sent[-1]
    assert 0 < size < kept.size < 1.1 * size  # it is kept once, and longer by two messages


# ---------------------------------------------------------------------------------- what a turn leaves


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_a_turn_is_told_once_with_all_there_is_to_know(tmp_path: Path, stream: bool) -> None:
    gateway = Gateway(tmp_path, HELLO)
    agent = {
        "User-Agent": "claude-cli/2.1.3 (external, cli)",
        "x-claude-code-session-id": "s-1",
        "x-kiro-kind": "title",
    }

    await gateway.asks(stream=stream, **agent)

    turn = gateway.turn
    assert turn.asked is not None
    assert turn.asked.size > len("Hello")
    assert turn.asked == Asked(
        model="claude-sonnet-4-5",
        session="s-1",
        kind="title",
        stream=stream,
        messages=1,
        tools=0,
        images=0,
        documents=0,
        size=turn.asked.size,
    )
    assert turn.served == Served(account="a", account_name="Account a", model="claude-sonnet-4.5")
    assert (turn.caller, turn.client) == (Caller("owner", "owner"), "claude-cli")
    assert (turn.surface, turn.attempts, turn.repairs) == ("/v1/messages", (), ())
    assert turn.end == Answered("end")
    assert turn.usage is not None
    assert (turn.usage.credits, turn.usage.output.value) == (0.25, 2)
    assert turn.first_byte is not None
    assert 0 <= turn.first_byte <= turn.seconds


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_attempts_before_and_what_was_mended_are_in_the_log(tmp_path: Path, stream: bool) -> None:
    gateway = Gateway(tmp_path, USED_UP, Failure(code="KA-CAPACITY", message="Full."), HELLO)
    orphan = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]}
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [orphan], "stream": stream}

    await gateway.asks(stream=stream, body=body)

    line = entry(gateway.turn)
    assert line["before"] == ["KA-QUOTA", "KA-CAPACITY"]
    assert line["account"] == "Account b"
    assert line["mended"] == gateway.turn.repairs != ()


async def test_a_turn_that_fails_tells_the_attempts_before_the_one_it_ended_with(tmp_path: Path) -> None:
    busy = Failure(code="KA-CAPACITY", message="Full.")
    gateway = Gateway(tmp_path, *[busy] * 4)

    response = await gateway.asks(stream=STREAM)

    assert response.status >= 400
    assert gateway.turn.end == Failed(Failure(code="KA-CAPACITY", message="Full.", account="Account a"))
    assert (len(gateway.turn.attempts), gateway.turn.served) == (3, None)
    assert entry(gateway.turn)["failure"] == "KA-CAPACITY"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"{", 400, "KA-REQUEST"), (b"x" * 2**21, 413, "KA-SIZE"), ({"model": "m"}, 400, "KA-REQUEST")],
    ids=["no JSON", "too large", "no messages"],
)
async def test_a_request_that_cannot_be_read_is_a_turn_that_failed(
    tmp_path: Path, body: Any, status: int, code: str
) -> None:
    gateway = Gateway(tmp_path)

    response = await gateway.asks(stream=WHOLE, body=body)

    assert response.status == status
    assert isinstance(gateway.turn.end, Failed)
    assert (gateway.turn.end.failure.code, gateway.turn.asked) == (code, None)


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_a_defect_is_said_to_be_ours_and_a_listener_s_costs_no_answer(
    tmp_path: Path, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(tmp_path, HELLO, HELLO)
    monkeypatch.setattr(gateway.notices, "on_turn_ended", lambda _: 1 / 0)
    assert (await gateway.asks(stream=stream)).status == 200

    gateway.service.answers = [[]]
    monkeypatch.setattr(gateway.service, "chat", lambda *_: 1 / 0)
    response = await gateway.asks(stream=stream)

    assert response.status >= 400
    assert [type(turn.end) for turn in gateway.turns] == [Answered, Failed]
    assert entry(gateway.turns[1])["failure"] == "KA-INTERNAL"


async def test_an_answer_that_breaks_off_is_told_with_what_it_used(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), Failure(code="KA-SUSPENDED", message="Locked.")])

    await gateway.asks(stream=STREAM)

    line = entry(gateway.turn)
    assert (line["ended"], line["failure"], line["account"]) == ("failed", "KA-SUSPENDED", "Account a")
    assert line["input"] > 0
    assert gateway.stage.account("a").state == "suspended"
    assert b"event: error" in gateway.client.written


# ------------------------------------------------------------------------------- another model instead

FULL = Failure(code="KA-CAPACITY", message="Full.")
SMALLER = Rule("claude-sonnet-4-5", frozenset({"KA-CAPACITY", "KA-SERVICE"}), "claude-haiku-4-5")
OLDER = Rule("*", frozenset({"KA-CAPACITY"}), "claude-sonnet-4")
TRIES = [FULL] * 4
"""As often as one account is asked for a model without capacity."""


def models_asked(gateway: Gateway) -> list[str]:
    found: list[str] = []
    for _, body in gateway.service.sent:
        model = body["conversationState"]["currentMessage"]["userInputMessage"]["modelId"]
        found += [] if found[-1:] == [model] else [model]
    return found


def head(gateway: Gateway, response: Answer) -> tuple[str | None, str | None]:
    return response.headers.get("x-kiro-model"), response.headers.get("x-kiro-fallback")


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_another_model_answers_as_the_rules_say_and_that_is_told_everywhere(
    tmp_path: Path, stream: bool
) -> None:
    gateway = Gateway(tmp_path, *TRIES, HELLO, fallback=[SMALLER])

    response = await gateway.asks(stream=stream)

    assert response.status == 200
    assert models_asked(gateway) == ["claude-sonnet-4.5", "claude-haiku-4.5"]
    assert head(gateway, response) == ("claude-haiku-4.5", "claude-sonnet-4.5; KA-CAPACITY")
    line = entry(gateway.turn)
    told = {"model": "claude-sonnet-4-5", "served": "claude-haiku-4.5", "insteadOf": "claude-sonnet-4.5"}
    assert told.items() <= line.items()
    assert (line["because"], line["before"]) == ("KA-CAPACITY", ["KA-CAPACITY"] * 4)
    [notice] = gateway.notices.since(0)[1]
    assert notice.message == "claude-haiku-4.5 answers instead of claude-sonnet-4.5: Full (KA-CAPACITY)."
    assert notice.variant == "warning"


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_without_a_rule_no_other_model_answers(tmp_path: Path, stream: bool) -> None:
    of_another = Rule("claude-opus-4-5", frozenset({"KA-CAPACITY"}), "claude-haiku-4-5")
    of_another_failure = Rule("*", frozenset({"KA-MODEL"}), "claude-haiku-4-5")
    to_itself = Rule("*", frozenset({"KA-CAPACITY"}), "claude-sonnet-4.5")
    for number, rules in enumerate([[], [of_another, of_another_failure, to_itself]]):
        gateway = Gateway(tmp_path / str(number), *TRIES, HELLO, fallback=rules)
        response = await gateway.asks(stream=stream)
        assert response.status >= 400
        assert models_asked(gateway) == ["claude-sonnet-4.5"]
        assert head(gateway, response) == (None, None)


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb: c", "a?b: c"), ("mod\r\x00el", "mod??el"), ("modèle 模", "mod?le ?"), ("m" * 200, "m" * 80)],
)
async def test_any_name_of_a_model_that_did_not_answer_stands_in_the_header(
    tmp_path: Path, name: str, shown: str, stream: bool
) -> None:
    unknown = Failure(code="KA-MODEL", message="Unknown.")
    rule = Rule("*", frozenset({"KA-MODEL"}), "claude-haiku-4-5")
    gateway = Gateway(tmp_path, unknown, unknown, HELLO, fallback=[rule])
    messages = [{"role": "user", "content": "Hi"}]

    response = await gateway.asks(
        stream=stream, body={"model": name, "max_tokens": 9, "messages": messages, "stream": stream}
    )

    assert response.status == 200
    assert head(gateway, response) == ("claude-haiku-4.5", f"{shown}; KA-MODEL")
    assert entry(gateway.turn)["insteadOf"] == shown
    [notice] = gateway.notices.since(0)[1]
    assert notice.message == f"claude-haiku-4.5 answers instead of {shown}: Unknown (KA-MODEL)."


async def test_the_rules_count_in_their_order_and_the_first_failure_is_told_when_all_fail(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path, *TRIES, *TRIES, *TRIES, HELLO, fallback=[SMALLER, OLDER, SMALLER])

    response = await gateway.asks(stream=WHOLE)

    assert response.status >= 400
    assert models_asked(gateway) == ["claude-sonnet-4.5", "claude-haiku-4.5", "claude-sonnet-4"]
    assert isinstance(gateway.turn.end, Failed)
    assert gateway.turn.end.failure.message == "Full."
    assert gateway.turn.served is None
    assert len(gateway.turn.attempts) == 11
    assert gateway.notices.since(0)[1] == []


async def test_all_models_together_have_the_attempts_of_one_request(tmp_path: Path) -> None:
    rules = [
        Rule("*", frozenset({"KA-CAPACITY"}), name)
        for name in ("claude-haiku-4-5", "claude-sonnet-4", "claude-opus-4-5", "claude-opus-4-6")
    ]
    gateway = Gateway(tmp_path, *[FULL] * 20, fallback=rules)
    gateway.stage.pool.policy = msgspec.structs.replace(gateway.stage.pool.policy, attempts=10)

    await gateway.asks(stream=WHOLE)

    assert len(gateway.service.sent) <= 10 + len(rules)


async def test_what_began_to_speak_is_not_begun_anew_with_another_model(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), FULL], HELLO, fallback=[SMALLER])

    response = await gateway.asks(stream=STREAM)

    assert models_asked(gateway) == ["claude-sonnet-4.5"]
    assert head(gateway, response) == ("claude-sonnet-4.5", None)
    assert b"event: error" in gateway.client.written


# ------------------------------------------------------------------------------- what attempts learn


async def test_another_account_that_takes_over_is_a_notice(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, USED_UP, HELLO)

    await gateway.asks(stream=STREAM)

    assert [notice.message for notice in gateway.notices.since(0)[1]] == [
        "Account b takes over. Account a: Used up (KA-QUOTA)."
    ]


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_a_failure_before_the_first_word_is_tried_again(tmp_path: Path, stream: bool) -> None:
    gateway = Gateway(tmp_path, [b"", b""], [Failure(code="KA-NETWORK", message="No line.")], HELLO)

    response = await gateway.asks(stream=stream)

    assert response.status == 200
    assert len(gateway.service.sent) == 3
    assert entry(gateway.turn)["before"] == ["KA-CUT", "KA-NETWORK"]


@pytest.mark.parametrize(("stream", "calls"), [(WHOLE, 2), (STREAM, 1)])
async def test_after_the_first_word_only_a_whole_answer_is_tried_again(
    tmp_path: Path, stream: bool, calls: int
) -> None:
    gateway = Gateway(tmp_path, [text("Hel"), Failure(code="KA-NETWORK", message="No line.")], HELLO)

    response = await gateway.asks(stream=stream)

    assert len(gateway.service.sent) == calls
    if not stream:
        assert json.loads(response.body)["content"][0]["text"] == "Hello you"


# --------------------------------------------------------------------------------- clients and lines


@pytest.mark.parametrize("path", SURFACES)
async def test_a_silent_stream_is_kept_alive(tmp_path: Path, path: str) -> None:
    go_on = asyncio.Event()
    gateway = Gateway(tmp_path, [text("Hello"), go_on, END])
    body = {"model": "claude-sonnet-4-5", "stream": True, "max_tokens": 9}
    body |= {"input": "Hi"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "Hi"}]}

    answering = gateway.asks(stream=STREAM, path=path, body=body)
    await gateway.client.has(b"ping")
    go_on.set()
    await answering

    assert gateway.turn.end == Answered("end")


@pytest.mark.parametrize("path", SURFACES)
async def test_a_stream_keeps_nothing_of_what_was_sent(tmp_path: Path, path: str) -> None:
    """A long history takes megabytes, and a stream is silent for minutes."""
    go_on = asyncio.Event()
    gateway = Gateway(tmp_path, [text("Hello"), go_on, END])
    body = {"model": "claude-sonnet-4-5", "stream": True, "max_tokens": 9}
    words = "a long history " * 1000
    said = [{"role": "user", "content": words}]
    body |= {"input": words} if path == "/v1/responses" else {"messages": said}

    answering = gateway.asks(stream=STREAM, path=path, body=json.dumps(body).encode())
    await gateway.client.has(b"Hello")
    await asyncio.sleep(0.02)
    gateway.service.sent.clear()
    kinds = (Conversation, Message)
    kept = [each for each in gc.get_objects() if isinstance(each, kinds) and words in repr(each)]
    go_on.set()
    await answering

    assert kept == []
    assert gateway.turn.end == Answered("end")


async def test_a_client_that_takes_nothing_is_hung_up_on_and_its_place_is_free(
    tmp_path: Path, never: asyncio.Event
) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), text("more"), never], patience=0.05)
    gateway.client.takes = False

    await asyncio.wait([gateway.asks(stream=STREAM)], timeout=5)

    assert gateway.client.is_closing()
    assert entry(gateway.turn)["ended"] == "the client left"


async def test_a_client_that_does_not_even_take_a_ping_is_hung_up_on(
    tmp_path: Path, never: asyncio.Event
) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), never], patience=0.3)
    answering = gateway.asks(stream=STREAM)
    await gateway.client.has(b"Hello")
    gateway.client.takes = False

    async with asyncio.timeout(5):
        while not gateway.client.is_closing():
            await asyncio.sleep(0.01)
    gateway.client.leaves()
    await asyncio.wait([answering])

    assert gateway.turn.end == Left()


async def until_read(gateway: Gateway) -> None:
    """Wait until the service was asked and what it says first was read."""
    async with asyncio.timeout(30):
        while not gateway.service.replies or gateway.service.replies[-1].at_hand:
            await asyncio.sleep(0)


PHASES = ["before the first word", "after words", "within a whole answer", "while its model is looked up"]


@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_leaves_is_said_to_have_left(
    tmp_path: Path, phase: str, never: asyncio.Event
) -> None:
    """Three of these were told as the gateway's failure, or not at all."""
    before = phase == PHASES[0]
    gateway = Gateway(tmp_path, [never] if before else [text("Hello"), never])
    if phase == PHASES[3]:
        gateway.service.list_models = lambda _: never.wait()  # type: ignore[method-assign,assignment,return-value]
    model = "new-9-1" if phase == PHASES[3] else "claude-sonnet-4-5"
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    answering = gateway.asks(stream=phase == PHASES[1], body=body | {"stream": phase in PHASES[:2]})
    if phase == PHASES[1]:
        await gateway.client.has(b"Hello")
    elif phase == PHASES[2]:
        await until_read(gateway)
    else:
        await asyncio.sleep(0.05)

    gateway.client.leaves()
    await asyncio.wait([answering])

    assert answering.cancelled()
    line = entry(gateway.turn)
    assert (line["ended"], line.get("failure")) == ("the client left", None)
    assert ("account" in line) == (phase in PHASES[1:3])
    assert b"KA-CUT" not in gateway.client.written
    assert b"stopped" not in gateway.client.written


async def test_a_client_whose_line_breaks_while_it_is_written_to_has_left(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, HELLO)
    gateway.client.abort()

    await gateway.asks(stream=STREAM)

    assert gateway.turn.end == Left()


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_a_gateway_that_stops_has_a_word_of_its_own(
    tmp_path: Path, stream: bool, never: asyncio.Event
) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), never])
    answering = gateway.asks(stream=stream)
    await (gateway.client.has(b"Hello") if stream else until_read(gateway))

    await gateway.relay.streams.end()
    if not stream:  # it is the server that ends those
        answering.cancel()
    await asyncio.wait([answering])

    assert gateway.turn.end == Stopped()
    assert entry(gateway.turn)["ended"] == "the gateway stopped"
    assert (b"The gateway was stopped (KA-CUT)." in gateway.client.written) == stream


async def test_a_stream_that_ends_in_its_time_is_not_cut_by_a_gateway_that_stops(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    gateway = Gateway(tmp_path, [text("Hello"), go_on, END])
    answering = gateway.asks(stream=STREAM)
    await gateway.client.has(b"Hello")
    asyncio.get_running_loop().call_later(0.01, go_on.set)

    await gateway.relay.streams.end()

    assert (await answering).status == 200
    assert gateway.turn.end == Answered("end")


async def test_a_client_that_leaves_a_gateway_that_stops_has_left(
    tmp_path: Path, never: asyncio.Event
) -> None:
    gateway = Gateway(tmp_path, [text("Hello"), never])
    gateway.asks(stream=STREAM)
    await gateway.client.has(b"Hello")
    stopping = asyncio.create_task(gateway.relay.streams.end())
    await asyncio.sleep(0)
    gateway.client.leaves()
    await stopping

    assert gateway.turn.end == Left()


# ------------------------------------------------------------- nothing but an ending follows a stream's head


async def test_a_store_that_fails_after_the_head_is_out_makes_no_second_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spent, broken = Failure(code="KA-QUOTA", message="The plan is used up."), asyncio.Event()
    gateway = Gateway(tmp_path, [text("Hello"), broken, spent])
    answering = gateway.asks(stream=STREAM)
    await gateway.client.has(b"Hello")
    (tmp_path / "kiro-accounts.json").write_bytes(b"{")
    broken.set()

    response = await answering

    assert response.body == b"", "an answer of its own, in the middle of the stream"
    assert gateway.client.written.count(b"event: error") == 1
    assert isinstance(gateway.turn.end, Failed)
    assert gateway.turn.end.failure.code == "KA-QUOTA"
    assert "a stream was over when this came" in caplog.text


@pytest.mark.parametrize("stream", [WHOLE, STREAM])
async def test_an_answer_that_only_pings_is_ended_in_time_and_frees_its_account(
    tmp_path: Path, stream: bool, never: asyncio.Event
) -> None:
    ping = event("pingEvent")
    gateway = Gateway(tmp_path, [text("Hello"), ping, never], patience=0.2)

    async with asyncio.timeout(5):
        response = await gateway.asks(stream=stream)

    assert isinstance(gateway.turn.end, Failed)
    assert gateway.turn.end.failure.code == "KA-TIMEOUT"
    assert gateway.stage.pool.roster().in_flight == {"a": 0}
    assert stream == (response.body == b"")
    assert len(gateway.service.sent) == 1
