"""A gateway that is told to end behind a balancer: new requests go elsewhere first, no answer is cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.ports import free_port
from support.programs import KEY, Home, Simulator

pytestmark = pytest.mark.timeout(120)

WORD = "Hello from the simulated model"
DRAIN = 2
"""Seconds for which one that is to end is not ready any more, and answers all the same."""


class Gateway:
    """A gateway's process, and what it answers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        host, _, port = process.stdout.readline().split()[2].rstrip(";").rpartition("/")[2].partition(":")
        self.place = host, int(port)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.place, timeout=30)

    def ready(self) -> tuple[int, str]:
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["status"]

    def becomes(self, status: tuple[int, str]) -> None:
        """Ask until it says so."""
        end = time.monotonic() + 60
        while self.ready() != status:
            assert time.monotonic() < end
            time.sleep(0.02)

    def takes_connections(self) -> bool:
        try:
            socket.create_connection(self.place, timeout=5).close()
        except OSError:
            return False
        return True


def asked(connection: http.client.HTTPConnection, **more: Any) -> http.client.HTTPResponse:
    """The answer to a turn; a stream has only begun."""
    said = [{"role": "user", "content": "Say hello."}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": said, **more}
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    connection.request("POST", "/v1/messages", json.dumps(body), headers)
    return connection.getresponse()


@contextlib.contextmanager
def gateway(home: Home, *options: str, port: int = 0) -> Iterator[Gateway]:
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.started("serve", "--port", str(port), *options) as process:
        yield Gateway(process)
        process.kill()


@pytest.fixture
def ready(served: tuple[Home, Simulator]) -> tuple[Home, Simulator]:
    home, simulator = served
    simulator.ask("settings", {"autoApprove": True})
    home.run("login", "--builder-id", "--no-browser")
    return home, simulator


def test_after_sigterm_it_is_not_ready_and_serves_on_and_its_stream_is_complete(
    ready: tuple[Home, Simulator],
) -> None:
    home, simulator = ready
    simulator.script({"steps": [{"text": "One "}, {"pause": 10}, {"text": "two."}]})
    with gateway(home, "--drain", "6") as running, contextlib.ExitStack() as stack:
        kept, streaming, other = (
            stack.enter_context(contextlib.closing(running.connection())) for _ in "123"
        )
        running.becomes((200, "ready"))
        kept.request("GET", "/health")
        kept.getresponse().read()
        stream = asked(streaming, stream=True)
        assert stream.status == 200

        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        running.becomes((503, "draining"))
        late = asked(other)
        assert (late.status, WORD in late.read().decode()) == (200, True), "who asks it still is answered"
        assert late.getheader("connection") == "close"
        kept.request("GET", "/health")
        last = kept.getresponse()
        last.read()
        assert (last.status, last.getheader("connection")) == (200, "close"), "a kept connection is given up"
        while running.takes_connections():
            assert time.monotonic() - began < 30
            time.sleep(0.05)
        assert time.monotonic() - began >= 5.9, "its doors stay open for the time that a balancer needs"

        text = stream.read().decode()
        assert "two." in text
        assert "message_stop" in text
        assert "error" not in text
        assert running.process.wait(40) == 0


@pytest.mark.parametrize(
    "stream", [True, pytest.param(False, marks=pytest.mark.clients)], ids=["a stream", "a whole answer"]
)
def test_an_answer_whose_first_word_is_still_awaited_has_the_grace_as_well(
    ready: tuple[Home, Simulator], stream: bool
) -> None:
    """Models think for longer than a moment; a stream that ends meanwhile does not end the others."""
    home, simulator = ready
    simulator.script(
        {"steps": [{"text": "One "}, {"pause": 3.5}, {"text": "two."}]},
        {"steps": [{"pause": 2}, {"text": "three "}, {"pause": 4}, {"text": "four."}]},
    )
    home.environment["KIRO_GRACE_SECONDS"] = "30"
    with (
        gateway(home) as running,
        contextlib.closing(running.connection()) as first,
        contextlib.closing(running.connection()) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        streaming = asked(first, stream=True)
        thinking = pool.submit(asked, second, stream=stream)
        while len(simulator.calls()) < 2:
            time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        assert "message_stop" in streaming.read().decode()
        answer = thinking.result()
        assert answer.status == 200
        text = answer.read().decode()
        assert ("four." in text, "error" in text) == (True, False)
        assert running.process.wait(40) == 0


def test_what_takes_longer_than_the_grace_ends_as_its_api_says(ready: tuple[Home, Simulator]) -> None:
    home, simulator = ready
    home.environment |= {"KIRO_GRACE_SECONDS": "1", "KIRO_DRAIN_SECONDS": "1"}
    simulator.script({"steps": [{"text": "One "}, {"pause": 30}, {"text": "two."}]})
    with gateway(home) as running, contextlib.closing(running.connection()) as connection:
        stream = asked(connection, stream=True)
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        text = stream.read().decode()
        assert text.rstrip().splitlines()[-2] == "event: error", text
        assert 1.5 < time.monotonic() - began < 20, "after two seconds, and what a busy machine adds"
        assert running.process.wait(40) == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=["draining", "waiting for streams"])
def test_a_second_signal_ends_at_once(ready: tuple[Home, Simulator], first: signal.Signals) -> None:
    home, simulator = ready
    simulator.script({"steps": [{"text": "One "}, {"pause": 60}, {"text": "two."}]})
    with gateway(home, "--drain", "60") as running, contextlib.closing(running.connection()) as connection:
        stream = asked(connection, stream=True)
        running.process.send_signal(first)
        if first == signal.SIGTERM:
            running.becomes((503, "draining"))
        else:
            while running.takes_connections():
                time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        assert "event: error" in stream.read().decode()
        assert running.process.wait(40) == 0  # it would drain, or wait, for a minute


def test_another_takes_the_place_of_one_that_drains_at_once(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    with gateway(home, "--drain", "60") as old:
        old.process.send_signal(signal.SIGTERM)
        old.becomes((503, "draining"))
        assert home.run("status").stdout.startswith("Running"), "programs of the user reach it as before"
        with gateway(home, "--replace"):
            assert old.process.wait(40) == 0


def test_sigterm_ends_one_whose_place_was_taken_after_the_grace(ready: tuple[Home, Simulator]) -> None:
    """Its doors are closed already: no balancer is to be told."""
    home, simulator = ready
    home.environment["KIRO_GRACE_SECONDS"] = "1"
    simulator.script({"steps": [{"text": "One "}, {"pause": 60}, {"text": "two."}]})
    with gateway(home, "--drain", "60") as old, contextlib.closing(old.connection()) as connection:
        stream = asked(connection, stream=True)
        with gateway(home, "--replace"):
            old.process.send_signal(signal.SIGTERM)
            assert "event: error" in stream.read().decode()
            assert old.process.wait(40) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_drain_its_doors_close_at_once(
    ready: tuple[Home, Simulator], number: signal.Signals
) -> None:
    options = () if number == signal.SIGTERM else ("--drain", "60")  # a person does not wait for balancers
    with gateway(ready[0], *options) as running:
        running.process.send_signal(number)
        assert running.process.wait(40) == 0  # it would drain, or wait, for a minute


def test_requests_all_along_an_upgrade_are_answered(ready: tuple[Home, Simulator]) -> None:
    """A balancer that sends to whoever is ready, and two gateways, the old one of which is replaced."""
    home, _ = ready
    drain = ("--drain", str(DRAIN))
    with gateway(home, *drain) as old, gateway(home, *drain, port=free_port()) as new:
        answered: list[int] = []

        def send(number: int) -> int:
            looked = time.monotonic()
            target = old if old.process.poll() is None and _is_ready(old) else new
            try:
                with contextlib.closing(target.connection()) as connection:
                    return asked(connection).status
            except ConnectionError:  # no balancer takes that long from its look to the request
                assert time.monotonic() - looked > DRAIN
                return send(number)

        with ThreadPoolExecutor(4) as pool:
            answered += pool.map(send, range(10))
            old.process.send_signal(signal.SIGTERM)
            while old.process.poll() is None:
                answered += pool.map(send, range(4))
        assert set(answered) == {200}
        assert len(answered) > 10, "some while the old one drained"


def _is_ready(gateway: Gateway) -> bool:
    try:
        return gateway.ready()[0] == 200
    except OSError:
        return False


def test_it_is_not_ready_while_its_store_cannot_be_read(ready: tuple[Home, Simulator]) -> None:
    home, _ = ready
    file = home.config / "kiro-accounts.json"
    good = file.read_bytes()
    with gateway(home) as running:
        running.becomes((200, "ready"))
        file.write_text("{")
        running.becomes((503, "no store"))
        file.write_bytes(good)
        running.becomes((200, "ready"))
