"""The documentation has every verb and every option, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from kiro_auth.cli.app import app

REFERENCE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):  # Typer's groups are not always Click's
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands(typer.main.get_command(app), "kiro-auth"))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_verb_and_option_is_documented(path: str) -> None:
    assert path.removeprefix("kiro-auth ") in REFERENCE
    for parameter in COMMANDS[path].params:
        for name in () if getattr(parameter, "hidden", False) else parameter.opts:
            assert not name.startswith("--") or f"`{name}" in REFERENCE or name == "--help"


def test_every_documented_option_exists() -> None:
    real = {name for command in COMMANDS.values() for p in command.params for name in p.opts}
    documented = set(re.findall(r"--[a-z][a-z-]*", REFERENCE))

    assert documented <= real | {"--help"}
