"""One request that is much work stops nobody else: others are answered meanwhile, and memory is bounded."""

from __future__ import annotations

import http.client
import json
import random
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.processes import processor_seconds
from support.programs import KEY, Home, Services

pytestmark = [pytest.mark.timeout(300)]

PROMPTLY = 2.0
"""Seconds that the gateway may work while another one waits: those that pass, where it has a processor."""
AT_MOST = 20.0
"""Seconds that pass meanwhile on a machine that is busy with much else."""
MEGABYTES = 450
"""The most that the gateway may ever hold: a body, what was read of it and what is made of it."""
MODEL = "claude-sonnet-4-5"


class Gateway(NamedTuple):
    port: int
    process: int

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=200)
        given = {"x-api-key": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, given)
        with connection.getresponse() as answer:
            said = answer.status, json.loads(answer.read())
        connection.close()
        return said

    def worked(self) -> float:
        return processor_seconds(self.process)

    def most_memory(self) -> int:
        """In megabytes, so far."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Iterator[Gateway]:
    home = Home(tmp_path_factory.mktemp("home"))
    services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    with home.gateway() as url:
        process = json.loads((home.state / "gateway.json").read_text())["pid"]
        yield Gateway(int(url.rpartition(":")[2]), process)


def asked(**fields: Any) -> bytes:
    words = {"messages": [{"role": "user", "content": "Say hello."}]}
    return json.dumps({"model": MODEL, "max_tokens": 9, **words, **fields}).encode()


def said(content: bytes) -> bytes:
    head = b'{"model":"%b","max_tokens":9,"messages":[{"role":"user","content":' % MODEL.encode()
    return head + content + b"}]}"


def references(part: Any, n: int) -> bytes:
    schema = {"$defs": {"b": part}, "properties": {f"q{i}": {"$ref": "#/$defs/b"} for i in range(n)}}
    return asked(tools=[{"name": "t", "description": "d", "input_schema": schema}])


def garbage() -> bytes:
    """What unpacks to 64 MB before it turns out to be damaged."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(bytes(63_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH) + b"\xff" * 100


def mutated() -> bytes:
    return random.Random(1).randbytes(2_000_000)


SCHEMA = {"properties": {f"p{i}": {"type": "string", "description": "x" * 50} for i in range(500)}}
HEAVY: dict[str, tuple[Callable[[], bytes], dict[str, str], int]] = {
    "20 MB of halves of characters": (lambda: said(b'"' + rb"\ud83d" * 3_300_000 + b'"'), {}, 400),
    "20 MB of escaped characters": (
        lambda: said(b'"' + rb"\ud83d\ude00" * 1_650_000 + rb'\ud83d"'),
        {},
        400,  # it comes from the service, as for the next three
    ),
    "20 MB of backslashes": (lambda: said(b'"' + rb"\\" * 10_000_000 + rb'\ud83d"'), {}, 400),
    "60 MB of lists": (lambda: said(b"[" + b"[]," * 20_000_000 + b'"a"]'), {}, 413),
    "as many values as may be": (lambda: said(b"[" + b"0," * 499_000 + b'"a"]'), {}, 400),
    "as many messages as may be": (lambda: asked(messages=["Say hello."] * 499_000), {}, 400),
    "3,000 references": (lambda: references(SCHEMA, 3000), {}, 200),
    "9,000 references to a large enum": (lambda: references({"enum": ["x" * 50] * 20_000}, 9000), {}, 200),
    "100,000 levels": (lambda: said(b"[" * 100_000 + b"]" * 100_000), {}, 400),
    "a number of 100,000 digits": (lambda: said(b"9" * 100_000), {}, 400),
    "a garbled deflate": (garbage, {"content_encoding": "deflate"}, 400),
    "garbage": (mutated, {"content_encoding": "deflate"}, 400),
}


_LONG = (
    "20 MB of escaped characters",
    "20 MB of backslashes",
    "60 MB of lists",
    "as many values as may be",
    "as many messages as may be",
)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.clients] if kind in _LONG else []) for kind in HEAVY],
)
def test_others_are_answered_promptly_meanwhile(gateway: Gateway, kind: str) -> None:
    make, headers, status = HEAVY[kind]
    body, waits, longest = make(), {"health": [0.0], "chat": [0.0]}, 0.0
    gateway.post("/v1/messages", asked())

    with ThreadPoolExecutor(2) as others:
        heavy: Future[tuple[int, Any]] = others.submit(gateway.post, "/v1/messages", body, **headers)
        while not heavy.done():
            begun = gateway.worked(), time.monotonic()
            assert gateway.post("/v1/messages", asked())[0] == 200
            waits["chat"].append(gateway.worked() - begun[0])
            waits["health"].append(health(gateway))
            longest = max(longest, time.monotonic() - begun[1])
        answered, answer = heavy.result()

    figures = {of: round(max(seconds), 2) for of, seconds in waits.items()} | {"both": round(longest, 2)}
    seen = f"{len(body) / 1e6:.1f} MB, {answered}, waits of {figures} s, {gateway.most_memory()} MB"
    assert answered == status, str(answer)[:500]
    assert (answered == 200) == (answer["type"] == "message")
    assert max(figures["health"], figures["chat"]) < PROMPTLY, seen
    assert longest < AT_MOST, seen
    assert gateway.most_memory() < MEGABYTES, seen


def health(gateway: Gateway) -> float:
    """How long the gateway works while somebody waits for a look at it."""
    begun = gateway.worked()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    connection.request("GET", "/health", headers={"x-api-key": KEY})
    with connection.getresponse() as answer:
        assert answer.status == 200
        answer.read()
    connection.close()
    return gateway.worked() - begun
