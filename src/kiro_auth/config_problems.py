"""What is said of values that cannot be used, and of names that no option has: each KA-CONFIG."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from kiro_auth.failures import Failure
from kiro_auth.texts import without_passwords

_SHOWN: Final = 60
"""Characters of a value that cannot be used; more would hide what is said about it."""


def no_option(where: str, name: str, names: Iterable[str], listed: str = "") -> Failure:
    """A name that is none of `names`; `listed` says where they all stand."""
    near = near_names(name, names)
    remedy = f"Did you mean {near[0]}?" if near else listed or f"There are {', '.join(names)}."
    return problem(f"{where} is no option.", remedy)


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """The name that was probably meant, if there is one."""
    import difflib  # for misspelt ones alone

    return difflib.get_close_matches(name, names, n=1)


def problem(message: str, next_step: str) -> Failure:
    """What is said of anything about the configuration."""
    return Failure(code="KA-CONFIG", message=message, next_step=next_step)


def refused(where: str, value: Any, allowed: str) -> Failure:
    """The value of what stands at `where` is none that is `allowed`."""
    import json  # a correct file needs none of it

    # A variable may hold bytes that are no text; Python shows them as halves of characters.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()
    shown = without_passwords(text)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return problem(f"{where} is {shown}, but must be {allowed}.", f"Correct {where}.")


def unfit(where: str, allowed: str) -> Failure:
    """The same of a value that may name people, so that it is not shown."""
    return problem(f"{where} must be {allowed}.", f"Correct {where}.")
