"""Look for inputs that break what each target's first line says.

    make fuzz                                  every target for half a minute
    make fuzz ARGS="--seconds 600 requests"    one of them for ten

An input that breaks one is printed, shrunk, and kept in .hypothesis, so that the next run begins with it.
It becomes a row of a table test where the mended code is tested.

Hypothesis makes the inputs: the tests depend on it already, and it shrinks what it finds.  Coverage does not
guide it.
"""

from __future__ import annotations

import argparse
import importlib
import time

from hypothesis import HealthCheck, Phase, given, settings

TARGETS = ("frames", "requests", "configuration", "store", "answers", "renewals")
AT_A_TIME = 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="which; without any, all")
    parser.add_argument("--seconds", type=float, default=30, help="how long for each")
    arguments = parser.parse_args()
    for name in arguments.targets or TARGETS:
        tried = fuzz(name, seconds=arguments.seconds)
        print(f"{name}: {tried} inputs")


def fuzz(name: str, *, seconds: float, at_a_time: int = AT_A_TIME) -> int:
    """How many inputs of a target were tried in about that time; the first that breaks it raises."""
    target = importlib.import_module(f"fuzz.{name}")
    tried = 0

    @settings(
        max_examples=at_a_time,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate, Phase.target, Phase.shrink],
    )
    @given(target.INPUTS)
    def some(data: object) -> None:
        nonlocal tried
        tried += 1
        target.check(data)

    end = time.monotonic() + seconds
    while tried == 0 or time.monotonic() < end:
        some()
    return tried


if __name__ == "__main__":
    main()
