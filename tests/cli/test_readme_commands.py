"""README.md names no command and no option that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import typer

from kiro_auth.cli.app import app

README = (Path(__file__).parents[2] / "README.md").read_text()
NAMED = sorted(set(re.findall(r"kiro-auth ((?:--?)?[a-z][^`\n#\")]*)", README)))
"""What stands behind the program's name, in a block or in a sentence."""


@pytest.mark.parametrize("words", [words for words in NAMED if not words.startswith("-")])
def test_each_command_that_is_named_is_there_with_its_options(words: str) -> None:
    command: click.Command = typer.main.get_command(app)
    rest = words.split()
    while hasattr(command, "commands"):
        assert rest, f"kiro-auth {words} ends with a group of commands"
        word = rest.pop(0)
        assert word in command.commands, f"there is no kiro-auth {words}"
        command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}
    own = rest[: rest.index("claude")] if "claude" in rest else rest  # behind it they are for the program
    assert {word for word in own if word.startswith("-")} <= options
