"""The npm package inside the real OpenCode: it finds the program by itself, or says how to get it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from support.opencode import VERSIONS, OpenCode
from support.plugin_package import packed
from support.programs import Home

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(240)]


@pytest.fixture
def home(home: Home) -> Home:
    (home.folder / "bin").mkdir()
    home.environment["PATH"] = f"{home.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return home


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("package"))


def test_one_line_of_configuration_is_enough(home: Home, package: Path) -> None:
    program = home.folder / "bin" / "kiro-auth"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kiro_auth "$@"\n')
    program.chmod(0o700)
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        opencode = OpenCode(VERSIONS[0], home)
        opencode.configure(json.dumps({"plugin": [f"file://{package}"]}))

        done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Say hello.")

    assert done.returncode == 0, done.stderr
    assert "Hello from the simulated model" in opencode.kept()[-1]


def test_without_the_program_one_line_says_so_and_nothing_is_downloaded(home: Home, package: Path) -> None:
    for downloads in ("uvx", "uv", "pipx", "pip"):
        program = home.folder / "bin" / downloads
        program.write_text(f'#!/bin/sh\necho {downloads} >> "{home.folder}/ran"\n')
        program.chmod(0o700)
    with home.simulator("--auto-approve"):
        home.run("login", "--builder-id", "--no-browser")
        opencode = OpenCode(VERSIONS[0], home)
        opencode.configure(json.dumps({"plugin": [f"file://{package}"]}))

        done = opencode.run("run", "-m", "kiro/claude-sonnet-4-5", "Say hello.")

    assert done.returncode == 1
    assert "The program kiro-auth is not on your PATH." in done.stdout + done.stderr
    assert not (home.folder / "ran").exists()
