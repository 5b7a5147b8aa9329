"""Thousands of bad requests, seeded: each is answered in its API's shape, and the gateway stays as it was."""

from __future__ import annotations

import contextlib
import copy
import http.client
import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.programs import KEY, Home, Services, Simulator

CORPUS = Path(__file__).parents[1] / "corpus" / "requests"
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
CLIENTS = 4
MEGABYTES = 12
"""How much more the gateway may hold at the end than after the first quarter."""
PIECES = (
    b'"', b"\\", b"{", b"]", b",", b"null", b"-1", b"1e999", b'"\\ud800"', b"\xff", b"[" * 2000, b"9" * 5000,
)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    None, True, -1, 1e300, "", "\ud800", "\x00\x1b[2J", [], {}, [[[]]], {"a": {"b": 1}}, 2**70,
)  # fmt: skip
HEADS = (
    b"Content-Length: -1", b"Content-Length: 99999999999999999999", b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Transfer-Encoding: gzip", b"Content-Encoding: gzip",
    b"Content-Encoding: zstd, br", b"Host: evil.example", b"Origin: https://evil.example", b"X-\xff: y",
    b": y", b"X: " + b"y" * 70_000, b"Expect: 100-continue", b"x-kiro-account: nobody", b"Connection: \x00",
)  # fmt: skip


def sound() -> dict[str, list[Any]]:
    cases = [json.loads(case.read_text())["requests"] for case in sorted(CORPUS.glob("*.json"))]
    return {path: [{**case[path], "model": "claude-sonnet-4-5"} for case in cases] for path in PATHS}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in list(members):
        yield value, key
        yield from places(inner)


def spoiled(given: Any, chance: random.Random) -> bytes:
    """The request with some of its values replaced or taken away, and some of its bytes."""
    value = json.loads(json.dumps(given))
    for _ in range(chance.randrange(4)):
        if found := list(places(value)):
            holder, key = chance.choice(found)
            if chance.random() < 0.3:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(chance.choice(LEAVES))
    data = bytearray(json.dumps(value).encode())
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.randrange(6)] = chance.choice(PIECES)
    return bytes(data)


class Client:
    """Sends bad requests, one after the other; `answered` counts what came."""

    def __init__(self, port: int, seed: int) -> None:
        self.port = port
        self.chance = random.Random(seed)
        self.answered: Counter[int] = Counter()
        self.sound = sound()
        self._line: http.client.HTTPConnection | None = None

    def send(self, count: int) -> None:
        for _ in range(count):
            path = self.chance.choice(PATHS)
            body = spoiled(self.chance.choice(self.sound[path]), self.chance)
            if self.chance.random() < 0.1:
                self._send_a_bad_head(path, body)
            else:
                self._send(path, body)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def think(self) -> None:
        """A good request, which the simulator is told to take its time for."""
        self._send(PATHS[0], json.dumps(self.sound[PATHS[0]][0]).encode())

    def _send(self, path: str, body: bytes) -> None:
        line = self._line or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        line.request("POST", path, body, {"x-api-key": KEY})
        answer = line.getresponse()
        self._judge(path, answer.status, answer.read(), answer.getheader("Content-Type", ""))
        self._line = None if answer.will_close else line
        if self._line is None:
            line.close()

    def _send_a_bad_head(self, path: str, body: bytes) -> None:
        head = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: %b\r\n" % (path.encode(), KEY.encode())
        bad = self.chance.choice(HEADS)
        length = b"" if b"Content-Length" in bad else b"\r\nContent-Length: %d" % len(body)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as line:
            try:
                line.sendall(head + bad + length + b"\r\nConnection: close\r\n\r\n" + body)
                answer = http.client.HTTPResponse(line)
                answer.begin()
                while answer.status == 100:
                    answer.begin()
                data = answer.read()
            except (ConnectionError, http.client.HTTPException):  # it hung up, as may be with such a head
                self.answered[0] += 1
                return
        self._judge(path, answer.status, data, answer.getheader("Content-Type", ""))

    def _judge(self, path: str, status: int, data: bytes, kind: str) -> None:
        self.answered[status] += 1
        assert status < 500, data
        assert b"KA-INTERNAL" not in data
        if status == 200:
            assert kind.startswith(("application/json", "text/event-stream"))
            return
        said = json.loads(data)
        assert ("type" in said) == (path == PATHS[0]), data
        assert said["error"]["message"]
        assert said["error"]["type"]
        assert ("code" in said["error"]) == (path != PATHS[0])


class Process:
    """What the system says of the gateway."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def memory(self) -> int:
        """Kilobytes that it holds now."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    def descriptors(self) -> int:
        """How many stay, once what is being closed is closed: a second's looks found no fewer."""
        least, looks = len(self._handles()), 0
        while looks < 20:
            time.sleep(0.05)
            found = len(self._handles())
            least, looks = (found, 0) if found < least else (least, looks + 1)
        return least

    def connections(self, port: int) -> int:
        """How many it has to that port of this machine."""
        handles = self._handles()
        rows = [line.split() for line in Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in handles for row in rows)

    def _handles(self) -> list[str]:
        found = []
        for link in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(link))
        return found


def warm_up(gateway: Process, clients: list[Client], threads: ThreadPoolExecutor, to: Simulator) -> None:
    """Until the gateway has a connection to the service for each client: it makes no more of them then."""
    port = int(to.url.rpartition(":")[2])
    for pause in range(1, 20):
        to.script(*[{"steps": [{"pause": pause / 5}, {"text": "Well."}]}] * len(clients))
        list(threads.map(Client.think, clients))
        if gateway.connections(port) >= len(clients):
            return
    raise AssertionError(f"{gateway.connections(port)} connections to the service")


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(400, marks=pytest.mark.timeout(120)),
        pytest.param(10_000, marks=[pytest.mark.clients, pytest.mark.early, pytest.mark.timeout(1200)]),
    ],
)
def test_every_bad_request_is_answered_and_nothing_of_it_stays(
    count: int, tmp_path: Path, services: Services
) -> None:
    home = Home(tmp_path)
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway() as url:
        gateway = Process(json.loads((home.state / "gateway.json").read_text())["pid"])
        clients = [Client(int(url.rpartition(":")[2]), seed) for seed in range(CLIENTS)]

        def look() -> tuple[int, int]:
            for client in clients:
                client.close()
            return gateway.memory(), gateway.descriptors()

        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(lambda client: client.send(count // CLIENTS // 4), clients))
            warm_up(gateway, clients, threads, simulator)
            before = look()
            list(threads.map(lambda client: client.send(count // CLIENTS * 3 // 4), clients))
        after = look()
        health = http.client.HTTPConnection("127.0.0.1", clients[0].port, timeout=20)
        health.request("GET", "/health")
        assert health.getresponse().status == 200
        health.close()
        answered = sum((client.answered for client in clients), Counter[int]())

    seen = f"{dict(answered)}, memory {before[0]} to {after[0]} KB, descriptors {before[1]} to {after[1]}"
    assert answered.total() >= count - 8, seen
    assert answered[0] < count / 10, seen
    assert {200, 400} <= answered.keys(), seen
    assert after[0] - before[0] < MEGABYTES * 1024, seen
    assert after[1] <= before[1] + 2, seen
    log = "".join(path.read_text() for path in home.state.glob("gateway.log*"))
    assert "raceback" not in log
    assert "by a defect" not in log
    assert "Error handling" not in log
