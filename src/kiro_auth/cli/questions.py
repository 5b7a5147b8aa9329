"""Questions to a person: an answer that cannot be used is told, and asked for again.

Ctrl-C and Ctrl-D end the command (typer.Abort).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import typer

from kiro_auth.cli.output import print_error, print_failure
from kiro_auth.failures import KiroAuthError

Answer = TypeVar("Answer")


def ask(question: str, read: Callable[[str], Answer], *, default: str = "", hidden: bool = False) -> Answer:
    """What `read` makes of the answer; its ValueError or failure is told, and the question comes again."""
    while True:
        text = typer.prompt(
            question, default=default, show_default=bool(default), hide_input=hidden, err=hidden
        )
        try:
            return read(text)
        except KiroAuthError as error:
            print_failure(error.failure)
        except ValueError as error:
            print_error(str(error))


def choice_of(count: int) -> Callable[[str], int]:
    """Reads a number from 1 to `count`.  ValueError names what there is."""
    numbers = [str(number) for number in range(1, count + 1)]
    names = f"{', '.join(numbers[:-1])} or {numbers[-1]}" if count > 1 else numbers[0]

    def read(text: str) -> int:
        chosen = text.strip().rstrip(".)")
        if chosen not in numbers:
            raise ValueError(f"{text.strip() or 'An empty answer'!s} is no choice. Type {names}.")
        return int(chosen)

    return read
