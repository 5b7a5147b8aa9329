"""How a command ends when its output goes nowhere, or Ctrl-C comes before it has begun."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support.programs import KIRO_AUTH, Home

INTERRUPTED_WHILE_IMPORTING = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from kiro_auth.cli.main import main
main()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def shell(home: Home, line: str) -> subprocess.CompletedProcess[str]:
    command = line.replace("kiro-auth", shlex.join(KIRO_AUTH))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=home.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "verb",
    [
        "accounts",
        pytest.param("accounts --json", marks=pytest.mark.clients),
        pytest.param("config show", marks=pytest.mark.clients),
        "--help",
    ],
)
def test_a_full_disk_is_one_line(home: Home, verb: str, unbuffered: str) -> None:
    home.environment["PYTHONUNBUFFERED"] = unbuffered
    done = shell(home, f"kiro-auth {verb} >/dev/full")

    assert (done.returncode, done.stderr) == (
        1,
        "error: The output cannot be written: the disk is full (KA-STORE).\n",
    )


@pytest.mark.parametrize("verb", ["accounts", "usage"])
def test_a_closed_output_is_one_line(home: Home, verb: str) -> None:
    done = shell(home, f"kiro-auth {verb} >&-")

    assert (done.returncode, done.stderr) == (1, "error: Standard output is closed (KA-STORE).\n")


def test_the_python_of_windows_that_has_no_output_runs_a_command_all_the_same(home: Home) -> None:
    """A service is started with it there; here it is a Python of that name, whose outputs are closed."""
    program = home.folder / "pythonw"
    program.symlink_to(sys.executable)
    home.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = shell(home, f"{program} -m kiro_auth config path >&- 2>&-")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_left_is_no_trouble(home: Home, unbuffered: str) -> None:
    home.environment["PYTHONUNBUFFERED"] = unbuffered
    assert shell(home, "kiro-auth config show | true").stderr == ""


def test_ctrl_c_before_it_has_begun_is_quiet(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING],
        env=home.environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
