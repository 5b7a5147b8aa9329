"""Help within 80 columns: every command has `-h` and a first sentence, and its examples exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from kiro_auth.cli.app import ACCOUNTS, GATEWAY, SETUP, START, TRY, app
from support import in_process
from support.programs import Home


def commands(group: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {path: group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, (*path, name))
    return found


ROOT = typer.main.get_command(app)
COMMANDS = commands(ROOT)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "kiro-auth")
def test_every_command_has_help_within_80_columns(tmp_path: Path, path: tuple[str, ...]) -> None:
    home = Home(tmp_path)
    home.environment["COLUMNS"] = "80"
    done = in_process.run([*path, "-h"], home.environment)
    text = done.stdout

    assert (done.returncode, done.stderr) == (0, "")

    examples = text.partition("\nExamples:\n")[2].splitlines()
    lines = text.removesuffix("\n").splitlines()
    assert [line for line in lines if len(line) > 80 and line not in examples] == []
    assert lines[0].startswith(" ".join(["Usage: kiro-auth", *path]))
    assert not re.search(r"<(str|int|path|list)", text)
    assert "─" not in text


def test_the_verbs_stand_in_panels(tmp_path: Path) -> None:
    text = Home(tmp_path).run("--help").stdout

    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert headings == [START, ACCOUNTS, GATEWAY, SETUP, TRY, "Options", "Examples"]
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in ROOT.commands)


def test_every_first_sentence_fits_two_lines() -> None:
    for path, command in COMMANDS.items():
        first = " ".join((command.help or "").split("\n\n")[0].split())
        assert first, path
        assert len(first) <= 120, (path, first)


@pytest.mark.parametrize(
    "line",
    [
        line
        for command in COMMANDS.values()
        for line in (command.epilog or "").splitlines()
        if not line.startswith("export ")
    ],
)
def test_every_example_is_a_command_that_exists(line: str) -> None:
    if "$(" in line or "<(" in line:
        line = re.search(r"\((kiro-auth [^)]*)\)", line)[1]  # type: ignore[index]
    words = shlex.split(re.split(r" {2,}| [<>] ", line)[0])
    assert words[0] == "kiro-auth"
    command = ROOT
    for at, word in enumerate(words[1:], 1):
        if word not in getattr(command, "commands", {}):
            rest = words[at:]
            break
        command = command.commands[word]
    else:
        rest = []
    if "run" in words:
        rest = rest[: next((at for at, word in enumerate(rest) if word in ("claude", "codex")), 0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert [word for word in rest if word.startswith("-") and word not in known] == []


def test_every_command_that_a_page_names_is_there() -> None:
    project = Path(__file__).parents[2]
    named = {
        (page.name, *filter(None, found.groups()))
        for page in (*project.glob("*.md"), *(project / "docs").glob("*.md"))
        for found in re.finditer(r"`kiro-auth ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?[^`]*`", page.read_text())
    }
    there = {path[:2] for path in COMMANDS}

    assert len(named) > 50
    for page, command, *more in named:
        is_group = hasattr(COMMANDS.get((command,)), "commands")
        assert ((command, *more) if is_group else (command,)) in there, page


def test_nobody_is_told_to_install_a_package_of_this_name_as_none_is_published() -> None:
    """One that has the name is somebody else's; extras come from the clone."""
    project = Path(__file__).parents[2]
    said = [*project.glob("*.md"), *(project / "docs").glob("*.md"), *(project / "deploy").iterdir()]
    said += (project / "src").rglob("*.py")
    told = r"\binstall(?: -\S+)* ['\"]?opencode-kiro-auth"

    assert [path.name for path in said if re.search(told, path.read_text())] == []
