"""What a command line that cannot be read is answered with, in this program's own words.

Typer says what is wrong by its exceptions; their texts are for programmers, and change with its releases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import typer

# Typer keeps these in its own copy of Click, and exports only BadParameter.
from typer._click.exceptions import (
    BadOptionUsage,
    ClickException,
    MissingParameter,
    NoArgsIsHelpError,
    NoSuchOption,
)

from kiro_auth.cli.parameters import shown_name, takes

Mistake = ClickException
_TOO_MANY: Final = re.compile(r"Got unexpected extra argument.* \((.*)\)")


def is_help(mistake: Mistake) -> bool:
    """Whether nothing is wrong: a command was given without a verb, so its help is wanted."""
    return isinstance(mistake, NoArgsIsHelpError)


def sentence(mistake: Mistake, root: Any, words: Sequence[str]) -> str:
    """What is wrong, and how to see what is right; `words` were given to the command `root`."""
    return f"{_what(mistake)} See: {_path(root, words)} --help"


def _what(mistake: Mistake) -> str:
    if isinstance(mistake, NoSuchOption):
        near = sorted(mistake.possibilities or ())
        return f"There is no option {mistake.option_name} here.{f' Did you mean {near[0]}?' if near else ''}"
    if isinstance(mistake, BadOptionUsage):
        wants = "takes no value" if "does not take" in mistake.message else "needs a value"
        return f"{mistake.option_name} {wants}."
    if isinstance(mistake, MissingParameter):
        return f"{shown_name(mistake.param)} is missing{_allowed(mistake.param, ': ')}."
    if isinstance(mistake, typer.BadParameter):
        return _value(mistake)
    if match := _TOO_MANY.fullmatch(mistake.message):
        return f"There is nothing to do with: {match[1]}."
    return mistake.message


def _value(mistake: typer.BadParameter) -> str:
    """What is wrong with a value: by its type, or as the command itself says it."""
    if mistake.param is not None:
        return f"{shown_name(mistake.param)} must be{_allowed(mistake.param, ' ') or ' another value'}."
    text = mistake.message if mistake.message.endswith(("?", ".")) else f"{mistake.message}."
    return f"{mistake.param_hint} {text}" if mistake.param_hint else text


def _allowed(parameter: Any, before: str) -> str:
    allowed = takes(parameter)
    return f"{before}{allowed}" if allowed else ""


def _path(command: Any, words: Sequence[str]) -> str:
    """The command that these words begin with."""
    path = command.name
    for word in words:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        path += f" {word}"
    return str(path)
