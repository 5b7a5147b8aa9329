"""Measure start-up, what one streamed event costs, and what it costs that the gateway proves itself.

    make bench                    all of it, about a minute
    python -m bench --streams 8   fewer streams at once

Start-up: from starting the process to the answer of `GET /health`, beside the start of Python itself.
Cost: the CPU time of the gateway's process for one event, beside a bare TCP pass-through of the very same
bytes, measured in one run, alternating.  The service is a stand-in that replays stored frames, so that its
own work does not count.  Proof: one call of ours to the gateway, beside the same call with the key and
without the proof.  Only loopback addresses are used, and every loop is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.client import run_streams
from bench.proof import measure
from kiro_auth.gateway.discovery import find

KEY = "bench-key-that-is-long-enough"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--starts", type=int, default=7, help="starts to take the median of")
    parser.add_argument("--streams", type=int, default=20, help="streams at once")
    parser.add_argument("--events", type=int, default=1500, help="events of one stream")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds")
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind for the proof's cost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        start_up(home, arguments.starts)
        proof(home, arguments.calls)
        for burst in (1, 40):
            cost(home, burst, arguments)


def start_up(home: Path, starts: int) -> None:
    bare = statistics.median(_timed([sys.executable, "-c", "pass"]) for _ in range(starts))
    with _service(1, 1) as service:
        ready = statistics.median(_seconds_to_health(home, service) for _ in range(starts))
    print(f"start-up: /health answers {ready:.3f} s after process start (median of {starts});")
    print(f"          Python alone starts in {bare:.3f} s; ratio {ready / bare:.1f}")


def cost(home: Path, burst: int, arguments: argparse.Namespace) -> None:
    """Alternate gateway and pass-through over the same frames; print CPU per event and the ratio."""
    streams, events = arguments.streams, arguments.events
    spent: dict[str, list[float]] = {"gateway": [], "pass-through": []}
    with _service(events, burst) as service, _gateway(home, service) as gateway, _relay(service) as relay:
        targets = {"gateway": gateway, "pass-through": relay}
        for port, _ in targets.values():
            asyncio.run(run_streams(port, KEY, 2))
        for _ in range(arguments.rounds):
            for name, (port, pid) in targets.items():
                before = _cpu_seconds(pid)
                received = asyncio.run(run_streams(port, KEY, streams))
                assert received >= streams * events, "the streams were not complete"
                spent[name].append((_cpu_seconds(pid) - before) / (streams * events) * 1e6)
    gateway_cost, relay_cost = (statistics.median(spent[name]) for name in ("gateway", "pass-through"))
    arriving = "one by one" if burst == 1 else f"{burst} at a time"
    print(
        f"events {arriving}, {streams} streams at once: CPU per event {gateway_cost:.1f} µs in the gateway,"
    )
    print(f"          {relay_cost:.1f} µs in a bare pass-through; ratio {gateway_cost / relay_cost:.1f}")


def proof(home: Path, calls: int) -> None:
    with _service(1, 1) as service, _gateway(home, service):
        gateway = find(home / "state" / "kiro-auth")
        assert gateway is not None
        took = measure(gateway, calls)
    print(f"one call on a new connection: {took['proved']:.0f} µs with the proof, {took['plain']:.0f} µs")
    print(f"          without; ratio {took['proved'] / took['plain']:.2f} (medians of {calls}, alternating);")
    print(f"          of it {took['owner']:.0f} µs to look whose socket it is")


def _timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - begin


def _seconds_to_health(home: Path, service: int) -> float:
    begin = time.perf_counter()
    with _gateway(home, service):
        return time.perf_counter() - begin


def _cpu_seconds(pid: int) -> float:
    """What its threads have run, to the nanosecond: the clock of `stat` ticks too slowly for short rounds."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@contextlib.contextmanager
def _service(events: int, burst: int) -> Iterator[int]:
    with _process([sys.executable, "-m", "bench.service", str(events), str(burst)]) as process:
        yield _announced_port(process)


@contextlib.contextmanager
def _relay(service: int) -> Iterator[tuple[int, int]]:
    with _process([sys.executable, "-m", "bench.relay", str(service)]) as process:
        yield _announced_port(process), process.pid


@contextlib.contextmanager
def _gateway(home: Path, service: int) -> Iterator[tuple[int, int]]:
    port = _free_port()
    url = f"http://127.0.0.1:{service}"
    environment = {
        **os.environ,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "KIRO_GATEWAY_KEY": KEY,
        "KIRO_USAGE_TRACKING_ENABLED": "false",
        "KIRO_MAX_CONCURRENT_PER_ACCOUNT": "100",
        "KIRO_ENDPOINT_RUNTIME": url,
        "KIRO_ENDPOINT_MANAGEMENT": url,
    }
    _write_account(home / "config" / "opencode")
    argv = [sys.executable, "-m", "kiro_auth", "serve", "--port", str(port), "--quiet"]
    with _process(argv, environment) as process:
        _wait_for_health(port)
        yield port, process.pid


def _wait_for_health(port: int) -> None:
    for _ in range(2000):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        time.sleep(0.005)
    raise SystemExit("the gateway did not start")


def _write_account(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    account = {
        "id": "0" * 32,
        "authMethod": "idc",
        "region": "us-east-1",
        "clientId": "bench",
        "clientSecret": "bench",
        "refreshToken": "bench",
        "accessToken": "bench",
        "expiresAt": 4102444800000,
    }
    (folder / "kiro-accounts.json").write_text(json.dumps({"version": 1, "accounts": [account]}))


@contextlib.contextmanager
def _process(argv: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def _announced_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


main()
