"""What the commands print that stay, or that start a gateway: real processes, in real terminals and pipes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Final

import pexpect
import pytest

from support.golden import WIDTHS, Row, Scene, check, opened, section
from support.programs import Home, Services

pytestmark = pytest.mark.timeout(180)

ENDS: Final = {"serve": "Ctrl-C.", "simulate": "KIRO_ENDPOINT_EXTERNAL_IDP"}
"""The last words before they wait."""


@pytest.fixture(scope="module")
def scene(services: Services) -> Iterator[Scene]:
    yield from opened(services)


def terminal(home: Home, row: Row, columns: int) -> pexpect.spawn:
    # The width by both ways: on a busy machine a program may ask before the terminal has its size.
    environment = {**home.environment, "TERM": "xterm", "COLUMNS": str(columns)}
    return home.terminal(*row.words, columns=columns, environment=environment)


@pytest.mark.parametrize("name", ENDS)
def test_what_a_command_says_that_stays(scene: Scene, name: str) -> None:
    row = Row((name,) if name == "serve" else (name, "--port", "0"))
    sections = []
    for columns in WIDTHS:
        home = scene.begin(1)
        child = terminal(home, row, columns)
        child.expect_exact(ENDS[name])
        begun = f"{child.before}{child.after}"
        child.expect("\n")
        begun += f"{child.before}\n"
        child.sendintr()
        child.expect(pexpect.EOF)
        child.close()
        text = begun.replace("\r\n", "\n")
        sections.append(section(row, 1, columns, subprocess.CompletedProcess([], 0, text, "")))
    check(name, scene.masked("\n".join(sections)))


def test_what_env_prints(scene: Scene) -> None:
    sections = []
    for client in ("claude", "codex", "opencode"):
        row = Row(("env", client))
        for columns in (None, *WIDTHS):
            home = scene.begin(1)
            home.run("install", "opencode")
            try:
                if columns is None:
                    done = home.process(*row.words)
                else:
                    child = terminal(home, row, columns)
                    child.expect(pexpect.EOF)
                    child.close()
                    text = str(child.before).replace("\r\n", "\n")
                    done = subprocess.CompletedProcess([], child.exitstatus or 0, text, "")
            finally:
                home.stop_gateway()
            sections.append(section(row, 1, columns, done))
    check("env", scene.masked("\n".join(sections)))
