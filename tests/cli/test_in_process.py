"""The help that most tests have: a command inside their process is as one of its own, and leaves no trace."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from support.programs import Home

PROGRAM = re.compile(r"(?:python -m \S+|kiro-auth)(?= (?:\[|accounts|COMMAND))")
"""How it calls itself when it says how it is used."""


def words(text: str) -> list[str]:
    return PROGRAM.sub("it", text).split()  # a shorter name leaves more space behind it


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("accounts",),
        ("accounts", "--json"),
        ("accounts", "show", "nobody"),
        ("accounts", "nonsense"),
        ("config", "show"),
        ("doctor", "--json"),
        ("login", "--api-key"),
        ("status",),
    ],
    ids=" ".join,
)
def test_it_prints_and_ends_as_a_process_does(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    home = Home(tmp_path)
    home.environment["COLUMNS"] = "100"

    here, process = home.run(*arguments, check=False), home.process(*arguments, check=False)

    assert here.returncode == process.returncode
    assert (words(here.stdout), words(here.stderr)) == (words(process.stdout), words(process.stderr))


def test_it_reads_its_input_and_works_in_its_folder(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / ".opencode").mkdir()
    (tmp_path / ".opencode" / "kiro.json").write_text("{}")

    assert (
        f"{tmp_path}/.opencode/kiro.json is not read" in home.run("config", "check", folder=tmp_path).stderr
    )
    refused = home.run("login", "--api-key", stdin="no key\n", check=False)
    assert (refused.returncode, "API key" in refused.stderr) == (1, True)


def test_it_leaves_its_process_as_it_was(tmp_path: Path) -> None:
    def state() -> list[object]:
        umask = os.umask(0)
        os.umask(umask)
        ours = logging.getLogger("kiro_auth")
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        streams = [sys.argv, sys.stdin, sys.stdout, sys.stderr]
        return [dict(os.environ), Path.cwd(), umask, ours.level, list(ours.handlers), *handlers, *streams]

    before = state()
    home = Home(tmp_path)
    for arguments in (("doctor",), ("login", "--builder-id", "--region", "moon"), ("accounts", "nonsense")):
        home.run(*arguments, check=False, folder=tmp_path)

    assert state() == before
    assert os.environ.get("HOME") != str(tmp_path)


async def test_it_runs_where_an_event_loop_runs(tmp_path: Path) -> None:
    assert Home(tmp_path).run("accounts", "verify").returncode == 0
