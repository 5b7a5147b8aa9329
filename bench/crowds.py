"""Many clients of one program, clients that do not read, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator

from bench.load import Connection, one_by_one, request
from bench.programs import Place, Program


def sentences(program: Program, place: Place, streams: int) -> list[str]:
    """What was measured, a sentence each: `streams` at once; of other clients there are fewer."""
    return [
        asyncio.run(_crowd(program, streams)),
        asyncio.run(_slow_readers(program, streams // 10)),
        asyncio.run(_leaving(program, place, streams // 20)),
    ]


async def _crowd(program: Program, streams: int) -> str:
    sent = request(20, 1, 0.1)
    begun = time.perf_counter()
    made, answers = [], []
    async with asyncio.timeout(120):
        for _ in range(streams):  # each asks as it connects
            made.append(await Connection.to(program.port))
            answers.append(made[-1].ask(sent))
        ended = await asyncio.gather(*answers, return_exceptions=True)
    took = time.perf_counter() - begun
    for connection in made:
        connection.close()
    whole = sum(not isinstance(answer, BaseException) and answer.words >= 20 for answer in ended)
    return (
        f"{streams:,} streams at once, an event each tenth of a second for two seconds: "
        f"{whole:,} complete, {streams - whole} errors, after {took:.1f} s."
    )


async def _slow_readers(program: Program, readers: int) -> str:
    async def first() -> float:
        answers = await one_by_one(program.port, request(10, 1, 0.001), 1, 50)
        return statistics.median(answer.first for answer in answers) * 1e3

    alone, before = await first(), program.memory()
    async with _silent_readers(program.port, readers):
        await asyncio.sleep(2)
        held = program.memory() - before
        beside = await first()
    return (
        f"{readers} clients that read nothing of 1.3 MB each: {held / 1e6:.1f} MB more; the first content of "
        f"others comes after {beside:.2f} ms (p50), without them after {alone:.2f} ms."
    )


@contextlib.asynccontextmanager
async def _silent_readers(port: int, readers: int) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    sent = request(10_000, 1000, 0.05)
    with contextlib.ExitStack() as stack:
        for _ in range(readers):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, sent)
        yield


async def _leaving(program: Program, place: Place, clients: int) -> str:
    """How soon the call to the service ends, one client after the other."""
    _losses(place)
    took = []
    for _ in range(clients):
        connection = await Connection.to(program.port)
        connection.ask(request(2, 1, 3600))
        assert connection.begun is not None
        await connection.begun
        left = time.monotonic()
        connection.close()
        await asyncio.sleep(0.02)
        took += [(lost - left) * 1e3 for lost in await asyncio.to_thread(_losses, place)]
    assert len(took) == clients, "a call went on after its client had left"
    return (
        f"A client that leaves while the service is silent: the call to it is closed after "
        f"{statistics.median(took):.2f} ms (median of {clients}; at most {max(took):.2f})."
    )


def _losses(place: Place) -> list[float]:
    """When calls to the service were ended in the middle of an answer, since it was asked last."""
    trusted = ssl.create_default_context(cafile=str(place.authority))
    line = http.client.HTTPSConnection("127.0.0.1", place.port, context=trusted)
    with contextlib.closing(line):
        line.request("POST", "/", headers={"X-Amz-Target": "Bench.Losses"})
        lost: list[float] = json.load(line.getresponse())
    return lost
