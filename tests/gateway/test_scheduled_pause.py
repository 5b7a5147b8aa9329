"""A request that waits for the reset of a plan, from both ends: what the client gets meanwhile, and after it.

Time passes only by waiting; the real program in real time is in tests/system/test_scheduled_pause.py.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kiro_auth.events import Answered, Caller, Left, Stopped
from kiro_auth.events import Failed as FailedTurn
from kiro_auth.failures import Failure
from kiro_auth.gateway import streams
from kiro_auth.gateway.client_keys import ClientKeys
from kiro_auth.keys.changes import Changes, Limits
from kiro_auth.keys.files import FileKeys
from kiro_auth.keys.key import Budget
from support.exchange import Step
from support.frames import END, text
from support.pool import NOW
from support.relaying import Gateway
from support.turns import turn_ended

HOUR = 3600.0
HELLO: list[Step] = [text("Hello"), text(" you"), END]
UNKNOWN = Failure(code="KA-QUOTA", message="Used up.")
USED_UP = replace(UNKNOWN, until=NOW + HOUR)
REFUSED = Failure(code="KA-BODY", message="Improper.")
BODIES: dict[str, dict[str, Any]] = {
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/responses": {"input": "Hi"},
}
ENDINGS = {
    "/v1/messages": (b"event: message_stop", b"event: error"),
    "/v1/chat/completions": (b"data: [DONE]", b'data: {"error":'),
    "/v1/responses": (b"event: response.completed", b"event: response.failed"),
}


def body(path: str, *, stream: bool) -> dict[str, Any]:
    return {"model": "claude-sonnet-4-5", "stream": stream, **BODIES[path]}


async def refusal(gateway: Gateway, *, stream: bool = True) -> str:
    """The message of a request that is refused at once, before any byte of a stream."""
    response = await gateway.asks(stream=stream)
    assert response.status >= 400
    assert gateway.stage.now < NOW + 60
    return str(json.loads(response.body)["error"]["message"])


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_waits_with_pings_for_the_reset_and_is_answered_after_it(
    tmp_path: Path, path: str
) -> None:
    gateway = Gateway(tmp_path, USED_UP, USED_UP, HELLO, wait_for_reset=2)

    await gateway.asks(stream=True, path=path, body=body(path, stream=True))

    _, _, stream = gateway.client.written.partition(b"\r\n\r\n")
    note, *events = stream.split(b"\n\n")
    assert note == b": Kiro's plans are used up; waiting until 2027-01-15T09:00:10+00:00"
    assert len([event for event in events if b"ping" in event]) == HOUR / 15 + 1
    assert b"Hello" in gateway.client.written
    assert ENDINGS[path][0] in gateway.client.written
    assert NOW + HOUR + 5 <= gateway.stage.now <= NOW + HOUR + 20
    assert gateway.turn.end == Answered("end")
    assert [failure.code for failure in gateway.turn.attempts] == ["KA-QUOTA", "KA-QUOTA"]
    [notice] = [n.message for n in gateway.notices.since(0)[1] if "waits" in n.message]
    assert notice.startswith("The plans are used up: a request waits for the reset of Account a, ")
    assert gateway.relay.pauses.waiting() == []


@pytest.mark.parametrize("path", BODIES)
async def test_what_fails_after_the_wait_ends_the_stream_in_the_api_s_own_form(
    tmp_path: Path, path: str
) -> None:
    gateway = Gateway(tmp_path, USED_UP, REFUSED, accounts="a", wait_for_reset=2)

    await gateway.asks(stream=True, path=path, body=body(path, stream=True))

    *_, last = (part for part in gateway.client.written.split(b"\n\n") if part)
    endings = gateway.client.written.count(ENDINGS[path][1])
    assert endings == 1
    assert b"KA-BODY" in gateway.client.written
    assert ENDINGS[path][1] in last or last == b"data: [DONE]"
    assert isinstance(gateway.turn.end, FailedTurn)


async def test_without_the_option_nothing_waits(tmp_path: Path) -> None:
    message = await refusal(Gateway(tmp_path, USED_UP, accounts="a"))

    assert "wait_for_reset" not in message


async def test_a_reset_that_the_service_did_not_name_is_not_waited_for_and_that_is_said(
    tmp_path: Path,
) -> None:
    message = await refusal(Gateway(tmp_path, UNKNOWN, accounts="a", wait_for_reset=72))

    assert "not waited for, though wait_for_reset is set: Kiro did not say when it comes" in message


async def test_a_reset_that_is_too_far_away_is_not_waited_for_and_that_is_said(tmp_path: Path) -> None:
    far = replace(USED_UP, until=NOW + 3 * HOUR)

    message = await refusal(Gateway(tmp_path, far, accounts="a", wait_for_reset=2))

    assert "it comes later than 2 h from now" in message


async def test_a_second_wait_counts_from_the_first(tmp_path: Path) -> None:
    again = replace(USED_UP, until=NOW + 2.5 * HOUR)
    gateway = Gateway(tmp_path, USED_UP, again, accounts="a", wait_for_reset=2)

    await gateway.asks(stream=True)

    assert b"later than 2 h from now" in gateway.client.written
    assert gateway.stage.now < NOW + 1.1 * HOUR


async def test_a_whole_answer_waits_only_as_long_as_a_request_may_take(tmp_path: Path) -> None:
    soon = Gateway(tmp_path / "soon", replace(USED_UP, until=NOW + 60), HELLO, accounts="a", wait_for_reset=2)
    response = await soon.asks(stream=False)
    assert (response.status, soon.turn.end) == (200, Answered("end"))
    assert soon.stage.now >= NOW + 60

    message = await refusal(Gateway(tmp_path / "late", USED_UP, accounts="a", wait_for_reset=2), stream=False)
    assert "an answer that is not streamed cannot be kept alive for so long" in message


async def test_an_account_that_can_be_used_before_the_reset_ends_the_wait(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, USED_UP, HELLO, accounts="a", wait_for_reset=2)

    async def signs_in(seconds: float) -> None:
        gateway.stage.now += seconds
        if gateway.stage.now > NOW + 100:
            gateway.stage.pool.sleep = gateway.stage.sleep
            gateway.stage.add("b")

    gateway.stage.pool.sleep = signs_in
    await gateway.asks(stream=True)

    assert gateway.turn.end == Answered("end")
    assert gateway.turn.served is not None
    assert gateway.turn.served.account == "b"
    assert gateway.stage.now < NOW + 200


async def waiting_for_ever(gateway: Gateway) -> None:
    """A request that waits, as the real time would have it."""

    async def sleep(_: float) -> None:
        await asyncio.Event().wait()

    gateway.stage.pool.sleep = sleep
    gateway.asks(stream=True)
    await gateway.client.has(b"waiting until")


async def test_accounts_that_cannot_be_read_for_a_while_end_no_wait(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, USED_UP, HELLO, accounts="a", wait_for_reset=2)
    [file] = tmp_path.rglob("kiro-accounts.json")
    kept, sleep, slept = file.read_bytes(), gateway.stage.pool.sleep, 0

    async def sleep_with_a_damaged_file(seconds: float) -> None:
        nonlocal slept
        slept += 1
        if slept in (5, 10):
            file.write_bytes(b"{" if slept == 5 else kept)
        await sleep(seconds)

    gateway.stage.pool.sleep = sleep_with_a_damaged_file
    await gateway.asks(stream=True)

    assert gateway.turn.end == Answered("end")


@pytest.mark.parametrize(
    ("happens", "code"),
    [("revoked", "KA-KEY-REVOKED"), ("spent", "KA-KEY-BUDGET"), ("rotated", "KA-KEY-REVOKED"), ("", None)],
)
async def test_who_waited_is_answered_only_if_its_key_would_still_let_it_in(
    tmp_path: Path, happens: str, code: str | None
) -> None:
    store = FileKeys(tmp_path / "keys", tmp_path / "state")
    changes = Changes(store, "ada", time.time())
    made = changes.create("ann", Limits(budget=Budget(1, "month")))
    seconds = itertools.count(0.0, 10.0)
    keys = ClientKeys(store, monotonic=lambda: next(seconds))
    gateway = Gateway(tmp_path, USED_UP, HELLO, accounts="a", wait_for_reset=2, keys=keys)
    caller = keys.admit(made.secret)
    assert isinstance(caller, Caller)
    gateway.caller = caller
    meanwhile = {
        "revoked": lambda: changes.revoke("ann"),
        "rotated": lambda: changes.rotate("ann"),
        "spent": lambda: gateway.spending.on_turn_ended(
            turn_ended(caller=caller, metered=1.0, request_id="x")
        ),
    }

    def once() -> None:
        gateway.stage.meanwhile = lambda: None
        if happens:
            meanwhile[happens]()

    gateway.stage.meanwhile = once
    await gateway.asks(stream=True)

    if code is None:
        assert gateway.turn.end == Answered("end")
        return
    assert isinstance(gateway.turn.end, FailedTurn)
    assert gateway.turn.end.failure.code == code
    assert code.encode() in gateway.client.written
    assert ENDINGS["/v1/messages"][1] in gateway.client.written
    assert len(gateway.service.sent) == 1


async def test_who_waits_is_told_and_a_client_that_leaves_ends_the_wait(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, USED_UP, HELLO, accounts="a", wait_for_reset=2)
    await waiting_for_ever(gateway)
    assert gateway.relay.pauses.waiting() == [{"account": "Account a", "until": "2027-01-15T09:00:10+00:00"}]

    gateway.client.leaves()
    assert gateway.client.handler is not None
    await asyncio.gather(gateway.client.handler, return_exceptions=True)

    assert gateway.turn.end == Left()
    assert gateway.relay.pauses.waiting() == []
    assert len(gateway.service.sent) == 1


async def test_a_gateway_that_ends_tells_those_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "GRACE", 0.05)
    gateway = Gateway(tmp_path, USED_UP, HELLO, accounts="a", wait_for_reset=2)
    await waiting_for_ever(gateway)

    await gateway.relay.streams.end()

    assert gateway.turn.end == Stopped()
    assert b"event: error" in gateway.client.written
    assert b"The gateway was stopped" in gateway.client.written
