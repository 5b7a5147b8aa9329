"""A conversation that is twice as long is twice the work, not four times.

Work is counted, not timed: the calls that Python makes, and the most memory that is held.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from kiro_auth.conversation import Conversation
from kiro_auth.gateway.heavy import MOST_VALUES, has_too_many_values, run_for
from kiro_auth.gateway.paths import SURFACES
from kiro_auth.kiro.models import resolve
from kiro_auth.kiro.request import payload
from kiro_auth.off_loop import Threads
from kiro_auth.simulator.catalog import MODELS
from kiro_auth.simulator.validator import check_chat
from kiro_auth.surfaces.prefixes import Prefixes
from support.counting import calls

MESSAGES = "/v1/messages"
OPTIONS = payload.Options(
    model=resolve("claude-opus-4-6", ()).model, protocol="rpc", origin="KIRO_CLI", profile_arn=None
)
LINE = "def f(x): return x  # ünïcode and \\escapes\n"


def history(turns: int, *, ids: bool = True, letters: bool = True) -> bytes:
    """A request of `turns` turns with a call, its result and an answer each, and 40 tools; 1 MB for 200.

    Without `letters` those beyond ASCII are escapes.
    """
    schema = {
        "type": "object",
        "properties": {"path": {"$ref": "#/$defs/p"}, "more": {"anyOf": [{"type": "string"}, {}]}},
        "$defs": {"p": {"type": "string"}},
        "additionalProperties": False,
    }
    tools = [{"name": f"tool.{n}", "description": "d" * 500, "input_schema": schema} for n in range(40)]
    messages: list[dict[str, Any]] = []
    for n in range(turns):
        id_ = f"t{n}" if ids else ""
        use = {"type": "tool_use", "id": id_, "name": f"tool.{n % 40}", "input": {"path": f"/a/{n}"}}
        result = {"type": "tool_result", "tool_use_id": id_, "content": LINE * 100}
        messages += [
            {"role": "user", "content": f"Look at {n}."},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, use]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": "Seen."},
        ]
    messages.append({"role": "user", "content": "And now?"})
    body = {"model": "m", "max_tokens": 9, "tools": tools, "messages": messages}
    return json.dumps(body, ensure_ascii=not letters).encode()


def build(conversation: Conversation) -> payload.Payload:
    return payload.build(conversation, OPTIONS)


def memory(work: Callable[[], object]) -> int:
    """The most bytes that it holds at a time; the first runs may still fill what is cached."""
    return min(memory_once(work) for _ in range(3))


def memory_once(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
@pytest.mark.parametrize("measure", [calls, memory])
def test_twice_the_history_is_twice_the_work(
    measure: Callable[[Callable[[], object]], int], ids: bool
) -> None:
    short, long = history(100, ids=ids), history(200, ids=ids)
    assert len(long) > 1_000_000
    decode = SURFACES[MESSAGES].decode
    figures = {}
    for size in (short, short, long):  # the first run only warms what is cached
        conversation = decode(size, {})
        figures[len(size)] = (
            measure(lambda size=size: decode(size, {})),
            measure(lambda conversation=conversation: build(conversation)),
        )

    for less, more in zip(figures[len(short)], figures[len(long)], strict=True):
        assert more < 2.2 * less


@pytest.mark.slow
def test_ten_megabytes_are_ten_times_the_work_of_one() -> None:
    """From the count of their values to the service's body: 10.5 times at most, in memory and in calls.

    What comes again is up to 12 times, as no more than 16 MB of histories are kept: the rest is read anew.
    """
    costs = []
    for body in (history(2), history(200), history(2000)):  # the first only warms what is cached
        work = partial(answered, body, Prefixes(lambda: 0.0))
        new = memory_once(work)  # what comes again is kept from the second time on
        costs.append((new, *(calls(work) for _ in range(3)), len(body)))

    (*_, size), (*_, ten_times) = costs[1:]
    assert 9 < ten_times / size < 10
    ratios = [more / less for less, more in zip(*costs[1:], strict=True)]
    assert max(ratios) < 12
    assert max(ratios[:2]) < 10.5


def answered(body: bytes, kept: Prefixes) -> payload.Payload:
    """What the gateway does with a body, but for receiving and sending."""
    run_for(body, Threads(1))
    return build(SURFACES[MESSAGES].decode(body, {}, kept))


def test_a_message_of_a_long_history_costs_few_calls() -> None:
    body, escaped = history(200), history(200, letters=False)
    messages = 4 * 200 + 1
    conversation = SURFACES[MESSAGES].decode(body, {})

    assert calls(lambda: SURFACES[MESSAGES].decode(body, {})) < 8 * messages
    assert calls(lambda: SURFACES[MESSAGES].decode(escaped, {})) < 23 * messages
    assert calls(lambda: build(conversation)) < 18 * messages


def test_results_of_tools_are_not_read_where_a_client_writes_letters_as_letters() -> None:
    """Nothing is made of them that would be as large as they are."""
    body = history(200)
    conversation = SURFACES[MESSAGES].decode(body, {})
    build(conversation)

    assert memory(lambda: SURFACES[MESSAGES].decode(body, {})) < 0.4 * len(body)
    assert memory(lambda: build(conversation)) < 1.7 * len(body)


def test_the_next_turn_of_a_long_history_is_read_where_it_begins() -> None:
    kept, turns = Prefixes(lambda: 0.0), [history(200 + number) for number in range(4)]
    for body in turns[:3]:
        SURFACES[MESSAGES].decode(body, {}, kept)

    assert calls(lambda: SURFACES[MESSAGES].decode(turns[3], {}, kept)) < 5_000
    assert memory(lambda: SURFACES[MESSAGES].decode(turns[3], {}, kept)) < 0.4 * len(turns[3])


def test_the_values_of_a_body_are_counted_as_far_as_there_could_be_too_many() -> None:
    short, long = history(190), history(2000)

    assert len(short) < 2 * MOST_VALUES
    assert calls(lambda: has_too_many_values(short)) < 5
    assert calls(lambda: has_too_many_values(history(250))) < 100
    assert calls(lambda: has_too_many_values(long)) < len(long) / 10_000


def test_the_long_history_is_taken_with_every_result() -> None:
    body = json.loads(build(SURFACES[MESSAGES].decode(history(200), {})).body)

    check_chat(body, protocol="rpc", models=MODELS)
    assert json.dumps(body).count(json.dumps(LINE)[1:-1]) == 200 * 100
