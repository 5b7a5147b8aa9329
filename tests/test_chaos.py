"""The chaos suite itself: a seed is one scenario, scenarios are played, and a law that is broken is seen."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from chaos import scenarios, soak
from chaos.oracle import broken_law
from chaos.plan import plan_of

INPUT = {"path": "a"}
BEGIN = 'event: message_start\ndata: {"type":"message_start"}\n\n'
STOP = 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
ERROR = 'event: error\ndata: {"type":"error","error":{"type":"x","message":"No. (KA-CUT)"}}\n\n'


def call(text: str) -> str:
    """A call of a tool in an Anthropic stream, its input in one piece."""
    events: list[Any] = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use"}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": text},
        },
    ]
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events)


SOUND = {
    "an answer": (200, BEGIN + STOP),
    "a failure at its end": (200, BEGIN + ERROR),
    "a call that was sent": (200, BEGIN + call(json.dumps(INPUT)) + STOP),
    "an error": (424, '{"type":"error","error":{"type":"x","message":"No. (KA-CUT)"}}'),
}
BROKEN = {
    "no ending": (200, BEGIN),
    "two endings": (200, BEGIN + ERROR + STOP),
    "something behind the ending": (200, STOP + BEGIN),
    "a second answer": (200, BEGIN + "HTTP/1.1 500 Internal Server Error\r\n\r\n" + STOP),
    "a defect": (200, BEGIN + ERROR.replace("KA-CUT", "KA-INTERNAL")),
    "half a call": (200, BEGIN + call('{"path": "a') + STOP),
    "a call that nobody sent": (200, BEGIN + call('{"path": "b"}') + STOP),
    "an error of another API": (424, '{"error":{"type":"x","message":"No. (KA-CUT)"}}'),
    "an error without its code": (424, '{"type":"error","error":{"type":"x","message":"No."}}'),
    "an error that clients repeat": (500, SOUND["an error"][1]),
    "a page": (502, "<html>"),
}


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_end_breaks_no_law(case: str) -> None:
    status, body = SOUND[case]

    assert broken_law("/v1/messages", status, body.encode(), stream=True, calls=[INPUT]) is None


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_law_is_seen(case: str) -> None:
    status, body = BROKEN[case]

    assert broken_law("/v1/messages", status, body.encode(), stream=True, calls=[INPUT]) is not None


def test_a_seed_is_one_scenario() -> None:
    assert plan_of(17) == plan_of(17)
    assert len({repr(plan_of(seed).requests) for seed in range(100)}) == 100


@pytest.mark.outside
def test_scenarios_are_played_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert scenarios.run([1, 2, 3, 4], jobs=2) == 0

    said = capsys.readouterr().out
    assert "4 scenarios in" in said
    assert " 0 broken" in said
    assert "answered" in said


@pytest.mark.clients
@pytest.mark.early
@pytest.mark.outside
@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="it reads memory and descriptors from /proc")
def test_fifty_agents_leave_memory_and_descriptors_as_they_are() -> None:
    soaked = soak.run(seconds=120, agents=50, pause=1.5, seed=1, history=20_000)

    assert soaked.errors == []
    assert soaked.turns > 2 * 50  # thousands, where nothing else runs
    assert soaked.growth() < 3.0, soak.report(soaked)
    assert soaked.samples[-1].memory < 150e6, soak.report(soaked)
    # Two connections for each agent, the client's and the service's, and nothing of turns that were left,
    # which are fifty and more; some have just been left, and what begins opens some files.
    most = max(sample.descriptors for sample in soaked.samples)
    assert most <= soaked.samples[0].descriptors + 2 * 50 + 30, soak.report(soaked)
