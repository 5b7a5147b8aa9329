"""Have things go wrong, by seeds, and see that what must hold does.

    make chaos                              300 scenarios
    make chaos ARGS="--seeds 5000"          more of them
    make chaos ARGS="--seed 17"             the scenario of one seed, again
    make chaos ARGS="soak --seconds 600"    fifty agents at one gateway, for long

The exit code is 1 when something did not hold; the seed and what was injected are printed.
"""

from __future__ import annotations

import argparse
import sys

from chaos import scenarios, soak


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["scenarios", "soak"], default="scenarios")
    parser.add_argument("--seed", type=int, help="one scenario, by its seed")
    parser.add_argument("--seeds", type=int, default=300, help="how many scenarios")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=3, help="how many scenarios at a time")
    parser.add_argument("--seconds", type=float, default=120, help="of a soak")
    parser.add_argument("--agents", type=int, default=50, help="of a soak")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between an agent's turns")
    parser.add_argument(
        "--history", type=int, default=20_000, help="bytes that a soak's conversations begin with"
    )
    arguments = parser.parse_args()
    if arguments.what == "soak":
        return _soak(arguments)
    if arguments.seed is not None:
        return scenarios.run([arguments.seed], 1)
    seeds = list(range(arguments.first, arguments.first + arguments.seeds))
    return scenarios.run(seeds, arguments.jobs)


def _soak(arguments: argparse.Namespace) -> int:
    soaked = soak.run(
        seconds=arguments.seconds,
        agents=arguments.agents,
        pause=arguments.pause,
        seed=arguments.seed or 1,
        history=arguments.history,
    )
    print(soak.report(soaked))
    return 1 if soaked.errors else 0


if __name__ == "__main__":
    sys.exit(main())
