"""Many scenarios, several at a time, and what came of them in figures."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections import Counter
from collections.abc import Iterator

from chaos import kills, stage
from chaos.plan import plan_of
from chaos.played import Played

OF_PROCESSES = 25
"""Every so many seeds one is of real processes that are killed, which takes seconds."""


def play(seed: int) -> Played:
    """The scenario of a seed."""
    try:
        return kills.play(seed) if seed % OF_PROCESSES == 0 else stage.play(plan_of(seed))
    except (Exception, SystemExit) as error:  # the process that plays it has others to play
        text = "".join(traceback.format_exception(error)[-4:])
        return Played(seed, broken=[f"the scenario itself failed: {text}"])


class Figures:
    """What was injected and how requests ended, of the scenarios so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._scenarios = 0
        self.broken = 0
        self._injected: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    def add(self, played: Played) -> None:
        self._scenarios += 1
        self.broken += bool(played.broken)
        self._injected.update(what.partition(",")[0] for what in played.injected)
        self._ends.update(played.ends)

    def line(self) -> str:
        return f"{self._scenarios} scenarios in {time.monotonic() - self._begun:.0f} s, {self.broken} broken"

    def text(self) -> str:
        return "\n".join(
            (
                self.line(),
                f"injected: {sum(self._injected.values())}",
                *(f"{count:8} {what}" for what, count in sorted(self._injected.items())),
                f"requests: {sum(self._ends.values())}",
                *(f"{count:8} {end}" for end, count in self._ends.most_common()),
            )
        )


def run(seeds: list[int], jobs: int) -> int:
    """Play them, so many at a time, and print what came of it, also at Ctrl-C; the exit code."""
    figures = Figures()
    try:
        for number, played in enumerate(_played(seeds, jobs), 1):
            figures.add(played)
            if played.broken or len(seeds) == 1:
                print(described(played), flush=True)
            if number % 100 == 0:
                print(figures.line(), flush=True)
    except KeyboardInterrupt:
        print("ended early")
    print(figures.text())
    return 1 if figures.broken else 0


def described(played: Played) -> str:
    """One scenario, with what is broken and how to play it again."""
    lines = [
        f"seed {played.seed}: {'; '.join(played.injected) or 'nothing injected'}",
        f"  ended: {', '.join(played.ends)}",
        *(f"  BROKEN: {law}" for law in played.broken),
    ]
    if played.broken:
        lines.append(f'  again: make chaos ARGS="--seed {played.seed}"')
    return "\n".join(lines)


def _played(seeds: list[int], jobs: int) -> Iterator[Played]:
    if jobs == 1:
        yield from map(play, seeds)
        return
    # Each process plays some and ends, so that none of them holds on to what another one left.
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=50) as pool:
        yield from pool.imap_unordered(play, seeds)
