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


def documented() -> dict[str, set[str]]:
    """By verb, the options that its own row of the table names."""
    rows = {}
    for line in REFERENCE.splitlines():
        if line.startswith("| `kiro-auth "):
            verbs, says = line.strip("| ").split(" | ", 1)
            for verb in re.findall(r"`([^`]+)`", verbs):
                # Behind the verb there may be what it is about: NAME, [NAME], `opencode`.
                words = [word for word in verb.removeprefix("kiro-auth ").split() if word.islower()]
                path = " ".join(["kiro-auth", *(word for word in words if word != "opencode")])
                rows[path] = set(re.findall(r"`(--[a-z][a-z-]*)", says))
    return rows


ROWS = documented()
OF_MANY = {"--help", "--json", "--yes"}
"""Said once for all verbs, or for two that share a row."""


def options(path: str) -> set[str]:
    shown = (p for p in COMMANDS[path].params if not getattr(p, "hidden", False))
    return {name for parameter in shown for name in parameter.opts if name.startswith("--")}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_verb_has_a_row_with_all_its_options(path: str) -> None:
    assert options(path) - OF_MANY <= ROWS[path]


def test_every_row_is_of_a_verb_and_names_options_that_it_has() -> None:
    groups = {path.rpartition(" ")[0] for path in COMMANDS}

    assert set(ROWS) - set(COMMANDS) <= groups
    wrong = {path: ROWS[path] - options(path) - OF_MANY for path in set(ROWS) & set(COMMANDS)}
    assert {path: names for path, names in wrong.items() if names} == {}
