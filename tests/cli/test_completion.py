"""The Tab key: what the script makes of a real shell, and what it says where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.programs import KIRO_AUTH, Home, Terminal


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """One with the command on its PATH, as after an installation."""
    home = Home(tmp_path)
    program = tmp_path / "bin" / "kiro-auth"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(KIRO_AUTH)} "$@"\n')
    program.chmod(0o755)
    home.environment["PATH"] = f"{program.parent}:{home.environment['PATH']}"
    return home


def shell(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing; CI must have it")
        pytest.skip(f"{name} is not on this machine")
    return program


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        pytest.param("kiro-auth us", "kiro-auth usage ", marks=pytest.mark.clients),
        pytest.param("kiro-auth accounts ver", "kiro-auth accounts verify ", marks=pytest.mark.clients),
        ("kiro-auth login --builder", "kiro-auth login --builder-id "),
        ("kiro-auth run cod", "kiro-auth run codex "),
    ],
)
def test_in_bash_the_tab_key_completes_commands_options_and_values(
    home: Home, typed: str, becomes: str
) -> None:
    bash = Terminal(
        shell("bash"), ["--norc", "--noprofile"], env={**home.environment, "TERM": "dumb", "PS1": "$ "},
        encoding="utf-8", timeout=120, dimensions=(40, 120),
    )  # fmt: skip
    try:
        bash.expect_exact("$ ")
        bash.sendline("source <(kiro-auth completion bash); echo re''ady")
        bash.expect_exact("ready\r\n")
        bash.send(f"{typed}\t")
        bash.expect_exact(becomes)
    finally:
        bash.close(force=True)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "kiro-auth accounts ver", "_KIRO_AUTH_COMPLETE": "complete_zsh"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "kiro-auth accounts ver",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
                "_KIRO_AUTH_COMPLETE": "complete_fish",
            },
        ),
    ],
)
def test_what_zsh_and_fish_ask_is_answered(home: Home, name: str, asked: dict[str, str]) -> None:
    """What their scripts run; the shells themselves are seldom on a test machine."""
    script = home.process("completion", name).stdout
    assert all(variable in script for variable in asked)

    home.environment |= asked

    assert "verify" in home.process(check=False).stdout


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_script(home: Home, name: str, tmp_path: Path) -> None:
    script = tmp_path / f"script.{name}"
    script.write_text(home.process("completion", name).stdout)

    done = subprocess.run([shell(name), "-n", str(script)], capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_name_it_is_the_shell_of_the_user(home: Home) -> None:
    home.environment["SHELL"] = "/usr/bin/fish"
    assert home.run("completion").stdout == home.run("completion", "fish").stdout

    home.environment["SHELL"] = "/bin/csh"
    done = home.run("completion", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    told = "There is no completion for csh (KA-CONFIG). Name one: kiro-auth completion bash, zsh"
    assert told in done.stderr
