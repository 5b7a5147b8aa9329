"""Measure what the gateway costs beside nginx and a bare pass-through, and what its own proof costs.

    make bench                          all of it, about four minutes
    make bench ARGS="--write"           and put the figures into docs/performance.md
    python -m bench --rounds 1          quicker, and less to be trusted

All of them pass the same bytes of one stand-in for the service, over TLS, in alternating rounds; a figure
is the median of its rounds.  CPU is that of the program alone, user and system.  nginx (apt install nginx)
passes bytes on and no more; the pass-through is the same in Python.  Only loopback addresses are used, and
every loop is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from bench import figures, shared_store, table
from bench.crowds import sentences
from bench.load import at_once, request
from bench.programs import (
    NGINX,
    Place,
    Program,
    gateway,
    nginx,
    pass_through,
    service,
    started_gateway,
    state_folder,
)
from bench.proof import measure
from kiro_auth.gateway.discovery import find

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--starts", type=int, default=7, help="starts to take the median of")
    parser.add_argument("--streams", type=int, default=8, help="streams at once, where events are counted")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    parser.add_argument("--open", type=int, default=1000, help="streams that are held open")
    parser.add_argument("--calls", type=int, default=500, help="calls of each kind for the proof's cost")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/performance.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as place:
        samples = measured(place, arguments)
        with gateway(place, accounts=1 + arguments.open // 50) as program:
            crowds = sentences(program, place, arguments.open)
        crowds += shared_store.sentences(place, arguments.rounds, arguments.streams)
        proof(place, arguments.calls)
    print()
    print(table.as_text(samples))
    print("\n".join(crowds))
    if NGINX is None:
        print("\nnginx is not installed, so there is nothing to compare with: apt install nginx")
    if arguments.write:
        table.write(samples, PAGE, _circumstances(arguments), crowds)


def measured(place: Place, arguments: argparse.Namespace) -> table.Samples:
    """All figures of all programs, round by round."""
    samples: dict[str, dict[str, list[float]]] = {name: {} for name in table.PROGRAMS}

    def note(name: str, values: figures.Figures) -> None:
        for figure, value in values.items():
            samples[name].setdefault(figure, []).append(value)

    for _ in range(arguments.starts):
        note(table.GATEWAY, figures.start(partial(started_gateway, place)))
    start_up(samples[table.GATEWAY][figures.HEALTH])
    kinds = programs(place)
    with ExitStack() as running:
        warm = {name: running.enter_context(start()) for name, start in kinds.items()}
        for program in warm.values():
            asyncio.run(at_once(program.port, request(100, 10, 0), arguments.streams, 20))
        for _ in range(arguments.rounds):
            for name, program in warm.items():
                note(name, figures.work(program, arguments.streams))
    few = min(200, arguments.open // 2)
    for name, ledger in ((table.GATEWAY, True), (table.NO_LEDGER, False)):
        kinds[name] = partial(gateway, place, accounts=1 + arguments.open // 50, ledger=ledger)
    for _ in range(min(3, arguments.rounds)):
        for name, start in kinds.items():
            note(name, figures.memory(start, few, arguments.open))
    return samples


def programs(place: Place) -> dict[str, Callable[[], AbstractContextManager[Program]]]:
    """Those that are compared; nginx only where it is installed."""
    kinds: dict[str, Callable[[], AbstractContextManager[Program]]] = {}
    if NGINX is not None:
        kinds[table.NGINX] = partial(nginx, place)
    return kinds | {
        table.PASS_THROUGH: partial(pass_through, place),
        table.GATEWAY: partial(gateway, place, accounts=2),  # so that a hundred streams leave some room
        table.NO_LEDGER: partial(gateway, place, accounts=2, ledger=False),
    }


def start_up(took: list[float]) -> None:
    bare = statistics.median(_timed([sys.executable, "-c", "pass"]) for _ in took)
    ready = statistics.median(took) / 1e3
    print(f"start-up: /health answers {ready:.3f} s after process start (median of {len(took)});")
    print(f"          Python alone starts in {bare:.3f} s; ratio {ready / bare:.1f}")


def proof(place: Place, calls: int) -> None:
    with gateway(place):
        running = find(state_folder(place))
        assert running is not None
        took = measure(running, calls)
    print(f"one call on a new connection: {took['proved']:.0f} µs with the proof, {took['plain']:.0f} µs")
    print(f"          without; ratio {took['proved'] / took['plain']:.2f} (medians of {calls}, alternating);")
    print(f"          of it {took['owner']:.0f} µs to look whose socket it is")


def _timed(argv: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - begin


def _circumstances(arguments: argparse.Namespace) -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"`make bench ARGS=--write` on {time.strftime('%Y-%m-%d', time.gmtime())}: Python {python}, "
        f"{os.cpu_count()} processors, {arguments.rounds} rounds, {arguments.streams} streams where events "
        "are counted."
    )


main()
