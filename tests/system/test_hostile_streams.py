"""A hostile or broken service in the middle of an answer, and what clients of the three APIs get of it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.programs import KEY, Home, Services, Simulator
from support.serving import serving
from support.storing import HandStore

pytestmark = [pytest.mark.outside, pytest.mark.timeout(60)]

PATIENCE = 2.0
"""Seconds that `request_timeout_ms` stands for here."""
BUSY = 10.0
"""Seconds that a busy machine may add; without the limit nothing would end here for minutes, if ever."""
ERRORS = {
    "/v1/messages": b"event: error",
    "/v1/chat/completions": b'{"error"',
    "/v1/responses": b"response.failed",
}
ENDINGS = {
    "/v1/messages": b"message_stop",
    "/v1/chat/completions": b"[DONE]",
    "/v1/responses": b"response.completed",
}
STUCK: dict[str, list[Any]] = {
    "pings for ever": [{"endless": {"name": "pingEvent", "every": 0.05}}],
    "events that nobody knows": [{"endless": {"name": "novelEvent", "payload": {"a": [1]}, "every": 0.05}}],
    "empty deltas": [
        {"endless": {"name": "assistantResponseEvent", "payload": {"content": ""}, "every": 0.05}}
    ],
    "figures again and again": [
        {"endless": {"name": "meteringEvent", "payload": {"usage": 0.0}, "every": 0.05}}
    ],
    "a call that grows by a byte": [
        {
            "endless": {
                "name": "toolUseEvent",
                "payload": {"toolUseId": "t", "name": "read", "input": "1"},
                "every": 0.5,
            }
        }
    ],
    "a frame byte by byte": [{"drip": 0.05}],
}
"""What never gives a word more, and never leaves the line silent."""
ODD: dict[str, dict[str, Any]] = {
    "a percentage that AWS writes so": {"contextUsageEvent": {"contextUsagePercentage": "NaN"}},
    "one without end": {"contextUsageEvent": {"contextUsagePercentage": "Infinity"}},
    "one of 1e308": {"contextUsageEvent": {"contextUsagePercentage": 1e308}},
    "one that is an object": {"contextUsageEvent": {"contextUsagePercentage": {"value": [1]}}},
    "credits that are no number": {"meteringEvent": {"usage": "NaN"}},
    "credits below nothing": {"meteringEvent": {"usage": -1e300}},
    "credits that are an object": {"meteringEvent": {"usage": {"amount": 1}}},
    "figures too large for JSON": {
        "metadataEvent": {"tokenUsage": {"uncachedInputTokens": 10**30, "outputTokens": "Infinity"}}
    },
    "figures that are texts and lists": {
        "metadataEvent": {"tokenUsage": {"outputTokens": [], "cacheReadInputTokens": "x"}, "stopReason": 7}
    },
    "usage that is no object": {"metadataEvent": {"tokenUsage": "much", "stopReason": "END_TURN"}},
    "links that are none": {"supplementaryWebLinksEvent": {"supplementaryWebLinks": [{"url": 1}, 2, None]}},
    "a citation of odd places": {
        "citationEvent": {
            "citationLink": "https://a.example",
            "citationText": {"a": 1},
            "target": {"range": {"start": 10**40, "end": "NaN"}},
        }
    },
}


def one_of(rows: Iterable[str]) -> list[Any]:
    """One of these rows in `make test`; as each takes seconds, the others are among `make clients`."""
    first, *others = rows
    return [first, *(pytest.param(row, marks=pytest.mark.clients) for row in others)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    simulator = services.begin(home, auto_approve=True)
    held = simulator.ask("sign-in", {"user": "ada@example.com"})
    names = ("accessToken", "refreshToken", "clientId", "clientSecret", "region")
    record = {name: held[name] for name in names}
    store = HandStore(home.config, home.state / "locks")
    store.add_account({"id": "a" * 32, "expiresAt": (time.time() + 3600) * 1000, **record})
    return simulator


class Asker:
    """Asks one API of a gateway, and keeps the bytes that came."""

    def __init__(self, url: str, path: str) -> None:
        self._url, self._path = url, path
        self.seconds = 0.0

    async def ask(self, *, stream: bool = True) -> bytes:
        """The body of the one answer that came on the connection."""
        words: Any = [{"role": "user", "content": "Hi"}]
        body: dict[str, Any] = {"model": "claude-sonnet-4-5", "stream": stream, "max_tokens": 1000}
        body |= {"input": words} if self._path == "/v1/responses" else {"messages": words}
        began = time.monotonic()
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self._url}{self._path}", json=body, headers={"x-api-key": KEY}) as answer,
        ):
            said = await answer.read()
        self.seconds = time.monotonic() - began
        assert b"HTTP/1.1" not in said, "a second answer stands in the middle of the first"
        assert answer.status == 200 or not stream
        return said


def text_in(said: bytes) -> str:
    """All words that stand in a body, in any API's form."""
    return "".join(
        json.loads(f'"{text}"') for text in re.findall(r'"(?:text|content|delta)":"([^"]*)"', said.decode())
    )


@pytest.mark.parametrize(
    ("path", "case"),
    [
        pytest.param(path, case, marks=[pytest.mark.clients] if m or n % len(ERRORS) else [])
        for m, path in enumerate(ERRORS)
        for n, case in enumerate(STUCK)
    ],
)
async def test_a_service_that_gives_no_word_more_is_waited_for_no_longer_than_allowed(
    home: Home, simulator: Simulator, path: str, case: str
) -> None:
    async with serving(home, request_timeout_ms=int(PATIENCE * 1000)) as gateway:
        asker = Asker(gateway.url, path)
        simulator.script({"steps": [{"text": "One word"}, *STUCK[case]]})
        said = await asker.ask()

        assert "One" in text_in(said)
        assert ERRORS[path] in said
        assert b"KA-TIMEOUT" in said
        assert ENDINGS[path] not in said
        assert PATIENCE <= asker.seconds < PATIENCE + BUSY

        simulator.script({"steps": [{"text": "Again."}]})  # and the account serves
        assert ENDINGS[path] in await asker.ask()


@pytest.mark.parametrize("case", one_of(STUCK))
async def test_a_whole_answer_is_waited_for_no_longer_either(
    home: Home, simulator: Simulator, case: str
) -> None:
    async with serving(home, request_timeout_ms=int(PATIENCE * 1000)) as gateway:
        asker = Asker(gateway.url, "/v1/messages")
        simulator.script({"steps": [{"text": "One word"}, *STUCK[case]]})
        said = await asker.ask(stream=False)

    assert b"KA-TIMEOUT" in said
    assert asker.seconds < PATIENCE + BUSY


@pytest.mark.parametrize("path", one_of(ERRORS))
async def test_a_long_call_that_grows_is_waited_for(home: Home, simulator: Simulator, path: str) -> None:
    """What a call is made of is not shown before it is whole, which may take longer than silence may."""
    patience = 2 * PATIENCE  # so much more than each pause is no matter of how busy the machine is
    pieces = ['{"path":"', *["abcdefghij" * 4] * 18, '"}']
    events = [{"toolUseId": "t", "name": "read", "input": piece} for piece in pieces]
    steps: list[Any] = [{"text": "Let me see."}]
    for payload in [*events, {"toolUseId": "t", "name": "read", "stop": True}]:
        steps += [{"event": {"name": "toolUseEvent", "payload": payload}}, {"pause": 0.3}]
    async with serving(home, request_timeout_ms=int(patience * 1000)) as gateway:
        asker = Asker(gateway.url, path)
        simulator.script({"steps": steps})
        said = await asker.ask()

    assert asker.seconds > patience + 1
    assert ENDINGS[path] in said
    assert b"abcdefghij" * 72 in said


@pytest.mark.parametrize("path", ERRORS)
@pytest.mark.parametrize("cut", ["chunk", "checksum", "frame", "reset"])
async def test_a_damaged_line_ends_the_answer_at_once_and_keeps_what_came_whole(
    home: Home, simulator: Simulator, path: str, cut: str
) -> None:
    async with serving(home) as gateway:
        asker = Asker(gateway.url, path)
        simulator.script({"steps": [{"text": "One word"}, {"cut": cut}]})
        said = await asker.ask()

    assert asker.seconds < BUSY
    assert ERRORS[path] in said
    assert ENDINGS[path] not in said
    assert "One word" in text_in(said)
    assert cut != "checksum" or "sound" in text_in(said)


@pytest.mark.parametrize("path", ERRORS)
async def test_odd_figures_cost_neither_the_answer_nor_the_gateway(
    home: Home, simulator: Simulator, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(home) as gateway:
        asker = Asker(gateway.url, path)
        for case, events in ODD.items():
            steps = [{"event": {"name": name, "payload": payload}} for name, payload in events.items()]
            for stream in (True, False):
                simulator.script({"steps": [{"text": "Sound."}, *steps, {"tail": {"withContext": False}}]})
                said = await asker.ask(stream=stream)

                assert "Sound." in text_in(said), case
                assert b"NaN" not in said, case
                assert not stream or ENDINGS[path] in said, case
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
