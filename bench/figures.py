"""What is measured of a program that stands between a client and the service: a number for each figure."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeAlias

from bench.load import Answer, Connection, at_once, one_by_one, request, staggered
from bench.programs import Program, until_health

Figures: TypeAlias = dict[str, float]

COALESCED: Final = "events all at once: CPU µs each"
FORTY: Final = "events 40 at a time: CPU µs each"
PACED: Final = "events one by one: CPU µs each"
SHORT: Final = "request of 10 events: CPU ms"
HISTORY: Final = "request of 1 MB: CPU ms"
NEXT_TURN: Final = "next turn of 1 MB: CPU ms"
LONG_HISTORY: Final = "request of 10 MB: CPU ms"
FIRST: Final = "first content, 1 stream: p50 ms"
FIRST_OF_MANY: Final = "first content, 100 streams: p50 ms"
PER_STREAM: Final = "open stream: KB each"
AT_MOST: Final = "all streams open: MB in all"
IDLE: Final = "idle: MB"
HEALTH: Final = "start to /health: ms"
STARTED: Final = "start to first content: ms"

_TALK: Final = b"########"
"""Stands in the first words of a history for the number of the talk."""
_talks: Final = itertools.count()
_REQUESTS: Final = 200
_HISTORIES: Final = 8
_LONG_HISTORIES: Final = 2


def work(program: Program, streams: int) -> Figures:
    """What events and requests cost, by a program that is warm."""
    return {
        COALESCED: _per_event(program, streams, events=1000, burst=1000, times=4),
        FORTY: _per_event(program, streams, events=1000, burst=40, times=1, pause=0.002),
        PACED: _per_event(program, streams, events=200, burst=1, times=1, pause=0.004),
        SHORT: _per_request(program, request(10, 10, 0), streams, _REQUESTS),
        HISTORY: _per_body(program, [_new(HISTORY_BODY) for _ in range(_HISTORIES)]),
        NEXT_TURN: _per_turn(program),
        LONG_HISTORY: _per_body(program, [_new(LONG_BODY) for _ in range(_LONG_HISTORIES)]),
        FIRST: _first(asyncio.run(one_by_one(program.port, request(10, 1, 0.001), 1, _REQUESTS // 2))),
        FIRST_OF_MANY: _first(asyncio.run(staggered(program.port, request(20, 1, 0.05), 100, 1.0))),
    }


def short(program: Program, sent: bytes, streams: int) -> Figures:
    """What that request costs, and how soon its first content comes when nothing else is asked."""
    return {
        SHORT: _per_request(program, sent, streams, _REQUESTS),
        FIRST: _first(asyncio.run(one_by_one(program.port, sent, 1, _REQUESTS // 2))),
    }


def memory(start: Callable[[], AbstractContextManager[Program]], few: int, many: int) -> Figures:
    """What a new program holds: idle, and with so many streams open."""
    with start() as program:
        time.sleep(0.3)
        idle = program.memory()
        asyncio.run(at_once(program.port, request(10, 10, 0), 2, 5))
        warm = program.memory()
        with_few, with_many = asyncio.run(_held(program, few, many))
    return {
        IDLE: idle / 1e6,
        PER_STREAM: (with_few - warm) / few / 1e3,
        AT_MOST: with_many / 1e6,
    }


def start(started: Callable[[], AbstractContextManager[Program]]) -> Figures:
    """How long a new program takes to its first answers."""
    begun = time.perf_counter()
    with started() as program:
        until_health(program.port)
        healthy = time.perf_counter() - begun
        asked = time.perf_counter() - begun
        [answer] = asyncio.run(at_once(program.port, request(10, 10, 0), 1))
    return {HEALTH: healthy * 1e3, STARTED: (asked + answer.first) * 1e3}


def _per_event(
    program: Program, streams: int, *, events: int, burst: int, times: int, pause: float = 0.0
) -> float:
    sent = request(events, burst, pause)
    with _spent(program) as spent:
        answers = asyncio.run(at_once(program.port, sent, streams, times))
    assert all(answer.words >= events for answer in answers), "the streams were not complete"
    return spent() / (streams * times * events) * 1e6


def _per_request(program: Program, sent: bytes, lines: int, times: int) -> float:
    with _spent(program) as spent:
        asyncio.run(one_by_one(program.port, sent, lines, times // lines))
    return spent() / times * 1e3


def _per_body(program: Program, bodies: Sequence[bytes]) -> float:
    with _spent(program) as spent:
        for sent in bodies:
            asyncio.run(one_by_one(program.port, sent, 1, 1))
    return spent() / len(bodies) * 1e3


def _per_turn(program: Program) -> float:
    """What a turn costs of a talk that is under way."""
    talk = b"%08d" % next(_talks)
    first, second, *turns = (sent.replace(_TALK, talk, 1) for sent in TURNS)
    _per_body(program, [first, second])
    return _per_body(program, turns)


def _new(sent: bytes) -> bytes:
    """The request as it was never sent: its first words differ."""
    return sent.replace(_TALK, b"%08d" % next(_talks), 1)


def _first(answers: list[Answer]) -> float:
    return statistics.median(answer.first for answer in answers) * 1e3


async def _held(program: Program, few: int, many: int) -> tuple[float, float]:
    """Bytes with so many streams open, each of which has said its first word and says no more."""
    held: list[Connection] = []
    sent = request(2, 1, 3600)
    try:
        with_few = await _with_more(program, held, sent, few)
        return with_few, await _with_more(program, held, sent, many)
    finally:
        for connection in held:
            connection.close()
        await asyncio.sleep(0.1)


async def _with_more(program: Program, held: list[Connection], sent: bytes, count: int) -> float:
    """Bytes with so many; each asks as it connects: one that asks nothing may be hung up on."""
    first = len(held)
    async with asyncio.timeout(60):
        while len(held) < count:
            connection = await Connection.to(program.port)
            held.append(connection)
            connection.ask(sent)
        for connection in held[first:]:
            assert connection.begun is not None
            await connection.begun
    await asyncio.sleep(0.3)
    return program.memory()


@contextlib.contextmanager
def _spent(program: Program) -> Iterator[Callable[[], float]]:
    before = program.cpu()
    yield lambda: program.cpu() - before


def _history(messages: int) -> dict[str, Any]:
    """A talk of so many messages, 5 KB each, with 40 tools."""
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where it is. " * 10},
            "lines": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    tools = [
        {"name": f"tool_{number}", "description": "What it does. " * 30, "input_schema": schema}
        for number in range(40)
    ]
    first = {"type": "text", "text": f"Look at {_TALK.decode()}."}
    text = "def f(x): return x  # ünïcode and \\escapes\n"
    history: list[dict[str, Any]] = []
    for number in range(messages // 2):
        use = {"type": "tool_use", "id": f"t{number}", "name": f"tool_{number % 40}", "input": {"path": "/a"}}
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": text * 210}
        asked = [first] if number == 0 else []
        history += [
            {"role": "user", "content": [*asked, *_last_result(history, result)]},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
        ]
    return {"history": history, "tools": tools}


def _last_result(history: list[dict[str, Any]], result: dict[str, Any]) -> list[dict[str, Any]]:
    if not history:
        return []
    return [result | {"tool_use_id": history[-1]["content"][1]["id"]}]


HISTORY_BODY: Final = request(10, 10, 0, **_history(200))
TURNS: Final = [request(10, 10, 0, **_history(messages)) for messages in range(196, 196 + 2 * _HISTORIES, 2)]
"""One talk, two messages longer with each request."""
LONG_BODY: Final = request(10, 10, 0, **_history(2000))
