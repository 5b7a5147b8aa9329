"""What the commands print that stay, or that start a gateway: real processes, in real terminals and pipes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pexpect
import pytest

from support.golden import WIDTHS, Row, Scene, check, opened, section
from support.messages import turn
from support.programs import Home

pytestmark = pytest.mark.timeout(180)

ENDS: Final = {"serve": "Ctrl-C.", "simulate": "KIRO_ENDPOINT_EXTERNAL_IDP"}
"""The last words before they wait."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from opened(tmp_path_factory.mktemp("services"))


def terminal(home: Home, row: Row, columns: int) -> pexpect.spawn:
    # The width by both ways: on a busy machine a program may ask before the terminal has its size.
    environment = {**home.environment, "TERM": "xterm", "COLUMNS": str(columns)}
    return home.terminal(*row.words, columns=columns, environment=environment)


def seen(home: Home, row: Row, columns: int | None) -> subprocess.CompletedProcess[str]:
    """What a command that ends prints."""
    if columns is None:
        return home.process(*row.words, check=False)
    child = terminal(home, row, columns)
    child.expect(pexpect.EOF)
    child.close()
    text = str(child.before).replace("\r\n", "\n")
    return subprocess.CompletedProcess([], child.exitstatus or 0, text, "")


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


@pytest.mark.clients
@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_what_service_prints(scene: Scene) -> None:
    sections: dict[str, list[str]] = {"status": [], "install": [], "uninstall": []}
    for columns in (None, *WIDTHS):
        home = scene.begin(1)
        done: list[str] = []
        try:
            for name in ("uninstall", "status", "install", "status", "uninstall"):
                before = (("service", "install"),) if "install" in done else ()
                row = Row(("service", name), before=before)
                sections[name].append(section(row, 1, columns, seen(home, row, columns)))
                done.append(name)
        finally:
            home.run("service", "uninstall")
    for name, texts in sections.items():
        check(f"service-{name}", scene.masked("\n".join(texts)))


def test_what_logs_prints(scene: Scene) -> None:
    """Of a gateway that had a turn, one for a model that there is not, and was ended."""
    row, sections = Row(("logs",)), []
    home = scene.begin(0)
    sections += [section(row, 0, columns, seen(home, row, columns)) for columns in (None, *WIDTHS)]
    home = scene.begin(1)
    with home.started("serve") as gateway:
        assert gateway.stdout is not None
        url = gateway.stdout.readline().split()[2].rstrip(";")
        asked = {"key": home.run("key", "show").stdout.strip(), "messages": HELLO}
        assert turn(url, **asked, model="claude-sonnet-4-5") == 200
        assert turn(url, **asked, model="claude-sonnet-9") >= 400
    # In the log itself, as the length of these decides where lines end.
    log = home.state / "gateway.log"
    for pattern, mask in PASSING.items():
        log.write_text(re.sub(pattern, mask, log.read_text()))
    row = Row(("logs",), before=(("two", "turns"),))
    sections += [section(row, 1, columns, seen(home, row, columns)) for columns in (None, *WIDTHS)]
    check("logs", scene.masked("\n".join(sections)))


HELLO: Final = [{"role": "user", "content": "Hello"}]
PASSING: Final = {
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(Z|\+00:00)": "2026-11-29T14:00:00.000Z",
    r"[\d.]+/[\d.]+s, ": "0.1/0.2s, ",
    r" [\d.]+s: ": " 0.1s: ",
    r"process \d+": "process 4242",
    r"\b[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}\b": "00000000-0000-4000-8000-000000000000",
}
"""What is another at every run of a gateway: times, how long a turn took, processes and ids."""


@pytest.mark.clients
def test_what_demo_prints(scene: Scene) -> None:
    """Its real run, without OpenCode; what passes at every run is the same in the file."""
    row, sections = Row(("demo", "--no-opencode")), []
    for columns in (None, *WIDTHS):
        done = seen(scene.begin(0), row, columns)
        for pattern, mask in OF_DEMO.items():
            done.stdout = re.sub(pattern, mask, done.stdout)
        sections.append(section(row, 0, columns, done))
    check("demo", scene.masked("\n".join(sections)))


OF_DEMO: Final = {
    r" *\d+ s\r": "",
    r"\x1b\[K": "",
    r"UNTIL +AS OF": "UNTIL  AS OF",
    r"resets [^\n]*": "resets Dec 1, in 2 days  now",
    r"in \d+ seconds": "in 5 seconds",
    r"plan   0\.\d\d ": "plan   0.06 ",
    r"took 0\.\d+ credits": "took 0.02 credits",
}
"""What its terminal clears, and what is of the day and of the machine."""


@pytest.mark.clients
def test_what_env_prints(scene: Scene) -> None:
    sections = []
    for client in ("claude", "codex", "opencode"):
        row = Row(("env", client))
        for columns in (None, *WIDTHS):
            home = scene.begin(1)
            home.run("install", "opencode")
            try:
                done = seen(home, row, columns)
            finally:
                scene.end_gateway()
            sections.append(section(row, 1, columns, done))
    check("env", scene.masked("\n".join(sections)))


def test_what_dashboard_prints(scene: Scene) -> None:
    row, sections = Row(("dashboard", "--no-browser")), []
    for columns in (None, *WIDTHS):
        home = scene.begin(1)
        try:
            done = seen(home, row, columns)
        finally:
            scene.end_gateway()
        done.stdout = re.sub(r"open/[\w-]{43}", f"open/{'k' * 43}", done.stdout)
        sections.append(section(row, 1, columns, done))
    check("dashboard", scene.masked("\n".join(sections)))
