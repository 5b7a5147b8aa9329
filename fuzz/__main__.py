"""Look for inputs that break what each target's first line says.

    make fuzz                                  every target for half a minute
    make fuzz ARGS="--seconds 600 requests"    one of them for ten
    make fuzz ARGS="--keep"                    choose the inputs in fuzz/corpus anew; a run begins with them

An input that breaks one is printed, shrunk, and kept in .hypothesis, so that the next run begins with it.
It becomes a row of a table test where the mended code is tested.

Hypothesis makes the inputs: the tests depend on it already, and it shrinks what it finds.  Coverage does not
guide it, but chooses which inputs are kept.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from fuzz import corpus

TARGETS = (
    *("frames", "requests", "configuration", "store", "answers", "renewals"),
    *("heads", "replies", "sign_ins"),
)
AT_A_TIME = 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="which; without any, all")
    parser.add_argument("--seconds", type=float, default=30, help="how long for each")
    parser.add_argument("--keep", action="store_true", help="write the corpus anew")
    arguments = parser.parse_args()
    for name in arguments.targets or TARGETS:
        if arguments.keep:
            print(f"{name}: {keep(name, seconds=arguments.seconds)} inputs are kept", flush=True)
        else:
            print(f"{name}: {fuzz(name, seconds=arguments.seconds)} inputs", flush=True)


def replay(name: str) -> int:
    """How many inputs of the corpus were tried; the first that breaks the target raises."""
    target, inputs = _target(name), corpus.kept(name)
    for data in inputs:
        target.check(data)
    return len(inputs)


def fuzz(name: str, *, seconds: float, at_a_time: int = AT_A_TIME) -> int:
    """How many inputs of a target were tried in about that time; the first that breaks it raises."""
    target = _target(name)
    return replay(name) + _made(target.INPUTS, target.check, seconds, at_a_time)


def keep(name: str, *, seconds: float, at_a_time: int = 50) -> int:
    """Choose the corpus of a target among what is made in about that time; how many are kept."""
    target = _target(name)
    reached: list[tuple[Any, corpus.Lines]] = []

    def check(data: object) -> None:
        with corpus.reaching() as lines:
            target.check(data)
        reached.append((data, lines))

    _made(target.INPUTS, check, seconds, at_a_time)
    return corpus.keep(name, reached)


def _made(inputs: Any, check: Callable[[object], None], seconds: float, at_a_time: int) -> int:
    """How many inputs were made and checked."""
    tried = 0

    @settings(
        max_examples=at_a_time,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    )
    @given(inputs)
    def some(data: object) -> None:
        nonlocal tried
        tried += 1
        check(data)

    end = time.monotonic() + seconds
    while tried == 0 or time.monotonic() < end:
        some()
    return tried


def _target(name: str) -> Any:
    return importlib.import_module(f"fuzz.{name}")


if __name__ == "__main__":
    main()
