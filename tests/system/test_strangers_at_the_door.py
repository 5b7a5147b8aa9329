"""Programs without a key that mean harm, against the real gateway: what they cost it, and others."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kiro_auth.gateway.http.limits import HEAD_SECONDS, MOST_STRANGERS, SILENT_SECONDS
from support.programs import KEY, Home
from support.promptly import assert_in_time

pytestmark = [
    pytest.mark.outside,
    pytest.mark.skipif(
        not Path("/proc/self/statm").exists(), reason="what a process uses is read as on Linux"
    ),
]
MB = 1e6
CROWD = 2500
"""Connections that are half open, more than were enough to shut everybody out."""


class Gateway:
    """A running gateway, and what it uses."""

    def __init__(self, home: Home, url: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self.log = home.state / "gateway.log"
        self._pid = json.loads((home.state / "gateway.json").read_text())["pid"]

    def memory(self) -> int:
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def most_memory(self) -> int:
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def cpu(self) -> float:
        threads = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self._pid}/fd").iterdir()))

    def asks_with_the_key(self) -> float:
        """Seconds that an answer takes which has to pass the guard and read a body."""
        begun = time.perf_counter()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        body = json.dumps({"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]})
        line.request("POST", "/v1/messages/count_tokens", body, {"x-api-key": KEY})
        with line.getresponse() as answer:
            assert (answer.status, b"input_tokens" in answer.read()) == (200, True)
        line.close()
        return time.perf_counter() - begun


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    home = Home(tmp_path)
    with home.gateway() as url:
        made = Gateway(home, url)
        made.asks_with_the_key()
        yield made


@pytest.fixture(autouse=True)
def enough_descriptors() -> Iterator[None]:
    """For the attackers, who are all in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def while_others_ask(gateway: Gateway, attack: Callable[[], asyncio.Future[None]]) -> list[float]:
    """How long somebody with the key waited for each answer while the attack went on."""
    attacking, waits = attack(), [0.0]
    while not attacking.done():
        waits.append(await asyncio.to_thread(gateway.asks_with_the_key))
        await asyncio.sleep(0.02)
    await attacking
    return waits


async def test_a_bomb_without_a_key_is_neither_unpacked_nor_kept(gateway: Gateway) -> None:
    bomb = gzip.compress(bytes(200_000_000), 1)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(bomb)}\r\n"
    before, cpu = gateway.most_memory(), gateway.cpu()

    async def attack() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode() + b"Content-Encoding: gzip\r\n\r\n" + bomb)
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()

    waits = await while_others_ask(
        gateway, lambda: asyncio.ensure_future(asyncio.wait_for(_all(attack, 10), 60))
    )

    assert gateway.most_memory() - before < 20 * MB
    assert gateway.cpu() - cpu < 2
    assert_in_time(waits, 1)


async def _all(attack: Callable[[], object], times: int) -> None:
    await asyncio.gather(*(attack() for _ in range(times)))  # type: ignore[arg-type]  # coroutines


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="silent"),
        pytest.param(b"POST /v1/messages HTTP/1.1\r\nx-api-key: a", id="begun", marks=pytest.mark.clients),
    ],
)
async def test_a_crowd_of_half_open_connections_shuts_nobody_out(gateway: Gateway, begun: bytes) -> None:
    before, descriptors = gateway.memory(), gateway.descriptors()
    began = asyncio.get_running_loop().time()
    crowd: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def attack() -> None:
        for _ in range(CROWD):
            crowd.append(await asyncio.open_connection("127.0.0.1", gateway.port))
            crowd[-1][1].write(begun)
        await asyncio.sleep(1.5)

    waits = await while_others_ask(gateway, lambda: asyncio.ensure_future(attack()))
    assert gateway.memory() - before < 30 * MB
    # The more there are, the sooner they give way: before the silence of the first is over.
    async with asyncio.timeout_at(began + SILENT_SECONDS - 1):
        while gateway.descriptors() - descriptors > 2 * MOST_STRANGERS:
            await asyncio.sleep(0.1)
    assert_in_time(waits, 2)
    if begun:  # and none of those that stay
        async with asyncio.timeout(HEAD_SECONDS + 20):
            while gateway.descriptors() - descriptors >= 20:
                await asyncio.sleep(0.2)
    for _, writer in crowd:
        writer.close()


async def test_a_thousand_that_come_at_once_and_ask_late_are_all_answered(gateway: Gateway) -> None:
    """As when the agents of one person begin together, on a machine that has too much to do."""
    crowd = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(1000)]
    await asyncio.sleep(1.5)
    body = b'{"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]}'
    head = f"POST /v1/messages/count_tokens HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
    for _, writer in crowd:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    assert {await reader.readline() for reader, _ in crowd} == {b"HTTP/1.1 200 OK\r\n"}
    for _, writer in crowd:
        writer.close()


@pytest.mark.parametrize("count", [2000, pytest.param(10_000, marks=pytest.mark.clients)])
async def test_requests_that_cannot_be_read_leave_a_few_lines(gateway: Gateway, count: int) -> None:
    kinds = [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: six\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ]
    for kind in kinds * 20:
        await _refused(gateway, kind)
    before, written = gateway.memory(), gateway.log.stat().st_size

    async def attack() -> None:
        for number in range(count // 10):
            await asyncio.gather(*(_refused(gateway, kinds[(number + n) % len(kinds)]) for n in range(10)))

    waits = await while_others_ask(gateway, lambda: asyncio.ensure_future(attack()))
    lines, more = gateway.log.stat().st_size - written, gateway.memory() - before
    assert lines < 2000
    assert more < 10 * MB
    assert_in_time(waits, 1)
    text = gateway.log.read_text()
    assert "could not be read" in text
    assert "Traceback" not in text


async def _refused(gateway: Gateway, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(sent)
    assert (await reader.readline()).split()[1] in (b"400", b"431")
    writer.close()
