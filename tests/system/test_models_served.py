"""Which models there are, whatever the service does; their names; and another model instead."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import KEY, Home, Services, Simulator
from support.promptly import assert_in_time
from system.test_doors import BODIES, Answer, Door, apis

LISTED = "claude-opus-4-6"


@pytest.fixture
def home(tmp_path: Path, services: Services) -> tuple[Home, Simulator]:
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    return home, simulator


@contextmanager
def silent() -> Iterator[tuple[str, list[socket.socket]]]:
    """A service that takes every connection and says nothing; its address, and the connections."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/{{region}}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for line in taken:
                line.close()


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200
    return [row["id"] for row in json.loads(answer.body)["data"]]


@pytest.mark.clients
def test_the_models_are_there_within_two_seconds_though_the_service_says_nothing(
    home: tuple[Home, Simulator],
) -> None:
    own, _ = home
    with silent() as (address, taken):
        with own.gateway(KIRO_ENDPOINT_MANAGEMENT=address) as url:
            door, waits = Door(url), []
            for path in ("/v1/models?limit=1000", "/models", f"/v1/models/{LISTED}"):
                begun = time.monotonic()
                assert door.ask("GET", path).status == 200
                waits.append(time.monotonic() - begun)
            assert_in_time(waits, 2)
            assert LISTED in ids(door.ask("GET", "/v1/models"))
        assert len(taken) == 1, "one question under way is enough for all"


def test_the_last_list_is_shown_while_the_service_says_nothing(home: tuple[Home, Simulator]) -> None:
    own, _ = home
    with own.gateway() as url:
        before = ids(Door(url).ask("GET", "/v1/models"))
    assert "qwen3-coder-480b" in before
    with silent() as (address, _), own.gateway(KIRO_ENDPOINT_MANAGEMENT=address) as url:
        assert ids(Door(url).ask("GET", "/v1/models")) == before


NAMES = ["anthropic/{}", "openai/{}", "us.anthropic.{}-20260205-v1:0", "{}@20260205", "mine", "{}-thinking"]


@apis
def test_one_model_by_other_names_is_asked_for_and_told(home: tuple[Home, Simulator], path: str) -> None:
    own, simulator = home
    names = [name.format(LISTED) for name in NAMES]
    with own.gateway(KIRO_MODEL_ALIASES=json.dumps({"Mine": LISTED})) as url:
        answers = [
            Door(url).ask("POST", path, json.dumps(BODIES[path] | {"model": name}).encode()) for name in names
        ]

    for name, answer in zip(names, answers, strict=True):
        assert answer.status == 200, answer.body
        assert answer.headers["x-kiro-model"] == "claude-opus-4.6", name
        assert "x-kiro-fallback" not in answer.headers, name
        assert json.loads(answer.body)["model"] == name
    assert asked(simulator) == ["claude-opus-4.6"] * len(names)


def asked(simulator: Simulator) -> list[str]:
    bodies: list[Any] = [call["body"]["conversationState"] for call in simulator.calls()]
    return [body["currentMessage"]["userInputMessage"]["modelId"] for body in bodies]


@apis
def test_the_refusal_of_an_unknown_name_tells_the_nearest_one_that_is_listed(
    home: tuple[Home, Simulator], path: str
) -> None:
    own, _ = home
    body = json.dumps(BODIES[path] | {"model": "anthropic/claude-opus-4-7"}).encode()
    with own.gateway() as url:
        answer = Door(url).ask("POST", path, body)
        shown = Door(url).ask("GET", "/v1/models/claude-opus-4-7")

    for refused, at in ((answer, path), (shown, "/v1/messages")):
        assert refused.status == (400 if at == "/v1/responses" else 404)  # Codex repeats 404
        assert "The nearest that is listed is claude-opus-4-6;" in refused.failure(at)["message"]


@apis
@pytest.mark.parametrize("stream", [False, pytest.param(True, marks=pytest.mark.clients)])
def test_another_model_answers_if_a_rule_says_so_and_every_place_tells_it(
    home: tuple[Home, Simulator], path: str, stream: bool
) -> None:
    own, simulator = home
    rules = [{"model": "claude-opus-4-7", "on": ["KA-MODEL"], "use": LISTED}]
    body = json.dumps(BODIES[path] | {"model": "claude-opus-4-7", "stream": stream}).encode()
    with own.gateway(KIRO_MODEL_FALLBACK=json.dumps(rules), KIRO_ENABLE_LOG_API_REQUEST="true") as url:
        answer = Door(url).ask("POST", path, body)
        notices = json.loads(Door(url).ask("GET", "/kiro/notices?after=0").body)["notices"]

    assert answer.status == 200, answer.body
    assert answer.headers["x-kiro-model"] == "claude-opus-4.6"
    assert answer.headers["x-kiro-fallback"] == "claude-opus-4-7; KA-MODEL"
    assert asked(simulator)[-1] == "claude-opus-4.6"
    [line] = [json.loads(line) for line in (own.state / "requests.jsonl").read_text().splitlines()]
    assert (line["model"], line["served"], line["insteadOf"]) == (
        "claude-opus-4-7", "claude-opus-4.6", "claude-opus-4-7",
    )  # fmt: skip
    assert [n["message"] for n in notices if "instead of claude-opus-4-7" in n["message"]]


def test_the_list_wants_the_key(home: tuple[Home, Simulator]) -> None:
    own, _ = home
    with own.gateway() as url:
        for path in ("/v1/models", "/models", "/v1/models?client_version=0.171.0"):
            assert Door(url).ask("GET", path, x_api_key="").status == 401
            assert KEY.encode() not in Door(url).ask("GET", path).body
