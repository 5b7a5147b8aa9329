"""`kiro-auth completion`: what a shell needs to complete commands and options with the Tab key."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import PurePath
from typing import Final

import typer

from kiro_auth.failures import ConfigFailed, Failure

PROGRAM: Final = "kiro-auth"
VARIABLE: Final = "_KIRO_AUTH_COMPLETE"
"""Set by the script when the shell asks what may come next."""


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    shell: Shell | None = typer.Argument(None, help="Your shell."),
) -> None:
    """Print the script that completes commands in your shell.

    Without SHELL it is the script of the shell that $SHELL names.
    """
    from typer._completion_shared import get_completion_script  # Typer exports only its own options

    wanted = shell or _own_shell()
    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=wanted))


def prepare() -> None:
    """Have Typer answer the scripts; needed only where `VARIABLE` is set."""
    from typer._completion_classes import completion_init

    completion_init()


def _own_shell() -> Shell:
    name = PurePath(os.environ.get("SHELL", "")).name
    try:
        return Shell(name)
    except ValueError:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message="Your shell is not known." if not name else f"There is no completion for {name}.",
                next_step=f"Name one: {PROGRAM} completion bash, zsh, fish or powershell",
            )
        ) from None
