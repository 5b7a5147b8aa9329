"""The npm package inside the real OpenCode: it finds the program by itself, or says how to get it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

PACKAGE = Path(__file__).parents[2] / "npm"


@pytest.fixture
def home(home: Home) -> Home:
    (home.folder / "bin").mkdir()
    home.environment["PATH"] = f"{home.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return home


def test_one_line_of_configuration_is_enough(home: Home) -> None:
    program = home.folder / "bin" / "kiro-auth"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kiro_auth "$@"\n')
    program.chmod(0o700)
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        opencode = OpenCode(VERSIONS[0], home)
        opencode.configure(json.dumps({"plugin": [f"file://{PACKAGE}"]}))

        done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Say hello.")

    assert done.returncode == 0, done.stderr
    assert "Hello from the simulated model" in opencode.kept()[-1]


@pytest.mark.parametrize(("program", "words"), [("uvx", 3), ("pipx", 4)])
def test_a_first_download_may_take_its_time(home: Home, program: str, words: int) -> None:
    fetch = home.folder / "bin" / program
    fetch.write_text(f'#!/bin/sh\nshift {words}\nsleep 22\nexec "{sys.executable}" -m kiro_auth "$@"\n')
    fetch.chmod(0o700)
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        opencode = OpenCode(VERSIONS[0], home)
        opencode.configure(json.dumps({"plugin": [f"file://{PACKAGE}"]}))

        done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Say hello.", seconds=90)

    assert done.returncode == 0, done.stderr
    assert "Hello from the simulated model" in opencode.kept()[-1]


def test_without_the_program_one_line_says_how_to_get_it(home: Home) -> None:
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        opencode = OpenCode(VERSIONS[0], home)
        opencode.configure(json.dumps({"plugin": [f"file://{PACKAGE}"]}))

        done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Say hello.")

    assert done.returncode == 1
    assert "pipx install opencode-kiro-auth" in done.stdout + done.stderr
