"""`run` and `env` without the real clients: the model to begin with, and a note when nobody is signed in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    program = tmp_path / "bin" / "codex"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "started $*"\n')
    program.chmod(0o700)
    home.environment["PATH"] = f"{program.parent}{os.pathsep}{home.environment['PATH']}"
    yield home
    home.stop_gateway()


def content(home: Home, *arguments: str) -> dict[str, object]:
    told = home.json("env", *arguments, "opencode")["variables"]
    return json.loads(told["OPENCODE_CONFIG_CONTENT"]) if "OPENCODE_CONFIG_CONTENT" in told else {}


def test_opencode_with_the_plugin_keeps_its_own_model_unless_one_is_asked_for(home: Home) -> None:
    assert content(home)["model"] == "kiro/claude-sonnet-4-5"
    assert content(home, "--model", "claude-haiku-4-5")["model"] == "kiro/claude-haiku-4-5"

    home.run("install", "opencode")

    assert content(home) == {}
    assert content(home, "--model", "claude-haiku-4-5") == {"model": "kiro/claude-haiku-4-5"}


def test_others_begin_with_sonnet(home: Home) -> None:
    assert home.json("env", "claude")["variables"]["ANTHROPIC_MODEL"] == "claude-sonnet-4-5"
    assert 'model="claude-sonnet-4-5"' in home.json("env", "codex")["arguments"]


def test_a_program_that_starts_with_nobody_signed_in_comes_with_a_note(home: Home) -> None:
    done = home.run("run", "codex")

    assert "note: No account yet. Sign in: kiro-auth login." in done.stderr
    assert done.stdout.startswith("started")
    home.environment["KIRO_API_KEY"] = "ksk_simulated_ada_0001"
    assert "note" not in home.run("run", "codex").stderr
