"""One reply of the service, told in each of the three APIs, says the same: `tests/corpus/replies`.

Each case is a script of the simulated service, and what the running gateway makes of it for clients.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.programs import KEY, Home, Simulator
from support.said import Said, streamed, whole

CASES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "corpus" / "replies").glob("*.json"))
}
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
ENDING = [(name, path) for name, case in CASES.items() for path in case.get("ends", ())]
BREAKING = [(name, path) for name, case in CASES.items() if "breaks" in case for path in PATHS]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, str]]:
    home = Home(tmp_path_factory.mktemp("home"))
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        with home.gateway() as url:
            yield simulator, url


def request(path: str, case: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """Two tools and one question, as this API puts them, with what the case asks besides."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}
    asked = case.get("asked", {})
    words = [{"role": "user", "content": "Go on."}]
    body: dict[str, Any] = {"model": "claude-sonnet-4-5", "stream": stream}
    names = ("read", "list")
    if path == "/v1/messages":
        body |= {"max_tokens": 1000, "messages": words}
        body["tools"] = [{"name": name, "description": name, "input_schema": schema} for name in names]
        if "stop" in asked:
            body["stop_sequences"] = [asked["stop"]]
        if "thinking" in asked:
            body["thinking"] = {"type": "enabled", "budget_tokens": 8192}
        return body
    functions = [{"name": name, "description": name, "parameters": schema} for name in names]
    if path == "/v1/chat/completions":
        body["messages"] = words
        body["tools"] = [{"type": "function", "function": function} for function in functions]
        body |= {"stop": asked["stop"]} if "stop" in asked else {}
        return body | ({"reasoning_effort": "low"} if "thinking" in asked else {})
    body["input"] = words
    body["tools"] = [{"type": "function", **function} for function in functions]
    return body | ({"reasoning": {"effort": "low"}} if "thinking" in asked else {})


def answer(served: tuple[Simulator, str], name: str, path: str, *, stream: bool) -> Said:
    simulator, url = served
    case = CASES[name]
    simulator.script({"steps": case["steps"]})
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    body = json.dumps(request(path, case, stream=stream)).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers), timeout=30) as reply:
        return streamed(path, reply.read()) if stream else whole(path, reply.read())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("name", "path"), ENDING)
def test_a_reply_says_the_same_in_each_api(
    served: tuple[Simulator, str], name: str, path: str, stream: bool
) -> None:
    said = answer(served, name, path, stream=stream)

    assert said == Said(**CASES[name]["reply"], ends=CASES[name]["ends"][path])


@pytest.mark.parametrize(("name", "path"), BREAKING)
def test_a_stream_that_breaks_off_says_so_after_what_came_before(
    served: tuple[Simulator, str], name: str, path: str
) -> None:
    said = answer(served, name, path, stream=True)

    assert said.failure
    assert CASES[name]["breaks"] in said.failure
    assert dataclasses.replace(said, failure=None) == Said(**CASES[name]["reply"])


def test_in_the_next_turn_the_model_reads_that_a_cut_call_was_not_run(served: tuple[Simulator, str]) -> None:
    simulator, url = served
    first = answer(served, "cut_in_a_call", "/v1/messages", stream=True)
    body = request("/v1/messages", {}, stream=False)
    body["messages"] += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "And?"}]
    headers = {"x-api-key": KEY, "content-type": "application/json"}

    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), headers), timeout=30
    ):
        pass

    history = simulator.calls()[-1]["body"]["conversationState"]["history"]
    assert history[-1]["assistantResponseMessage"]["content"].endswith("was cut off, and was not run.]")
