"""The straight way to `serve`, `--version` and `status --health`: reading all verbs takes long.

Programs wait for the first two, and the third one is done every few seconds.

What it does not know, `--help` and mistakes among it, is left to the command line as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from kiro_auth import __version__

VERSION: Final = f"kiro-auth {__version__}"
_FLAGS: Final = frozenset({"--quiet", "--replace"})
_NUMBERS: Final[dict[str, Callable[[str], float]]] = {"--idle-minutes": float, "--port": int}
_SEVERAL: Final[dict[str, Callable[[str], int]]] = {"--listener": int}


def straight(arguments: Sequence[str]) -> Callable[[], None] | None:
    """What these arguments ask for, if it is one of those, with what programs give it; else None."""
    if [*arguments] == ["--version"]:
        return partial(print, VERSION)
    if [*arguments] == ["status", "--health"]:
        from kiro_auth.cli.status import status

        return partial(status, json=False, health=True)
    if arguments[:1] != ["serve"]:
        return None
    given = _read(arguments[1:])
    if given is None:
        return None
    from kiro_auth.cli.serve import serve

    return partial(serve, **given)


def _read(arguments: Sequence[str]) -> dict[str, Any] | None:
    given: dict[str, Any] = {}
    left = iter(arguments)
    for argument in left:
        name = argument[2:].replace("-", "_")
        try:
            if argument in _FLAGS:
                given[name] = True
            elif argument in _NUMBERS:
                given[name] = _in_range(argument, _NUMBERS[argument](next(left, "")))
            elif argument in _SEVERAL:
                given.setdefault(name, []).append(_SEVERAL[argument](next(left, "")))
            else:
                return None
        except ValueError:
            return None
    return given


def _in_range(argument: str, value: float) -> float:
    if not 0 <= value <= (65535 if argument == "--port" else float("inf")):
        raise ValueError(argument)
    return value
