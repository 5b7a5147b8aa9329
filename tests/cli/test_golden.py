"""What every command prints is written down in tests/golden, for a person to read: see support/golden.py."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pexpect
import pytest
import typer

from kiro_auth.cli.app import app
from support.golden import FOLDER, NOW, WIDTHS, Row, Scene, check, in_any_width, opened, section

pytestmark = pytest.mark.timeout(180)

ROWS: Final[dict[str, list[Row]]] = {
    "accounts": [Row(("accounts",))],
    "accounts-list": [Row(("accounts", "list"), counts=(3,))],
    "accounts-show": [Row(("accounts", "show", "NAME"))],
    "accounts-set": [Row(("accounts", "set", "NAME", "--label", "work"), counts=(0, 1))],
    "accounts-enable": [Row(("accounts", "enable", "NAME"), counts=(0, 1))],
    "accounts-disable": [Row(("accounts", "disable", "NAME"), counts=(0, 1))],
    "accounts-remove": [
        Row(("accounts", "remove", "NAME"), counts=(0, 1), answers=(("[y/N]: ", "y"),)),
        Row(("accounts", "remove"), counts=(3,), answers=(("name: ", "2"), ("[y/N]: ", "n"))),
        Row(("accounts", "remove", "NAME", "--yes"), counts=(1,)),
    ],
    "accounts-verify": [Row(("accounts", "verify"), answers=(("[0]: ", "0"),))],
    "accounts-import": [Row(("accounts", "import"), counts=(0,))],
    "accounts-migrate-secrets": [Row(("accounts", "migrate-secrets"), counts=(0, 1))],
    "accounts-export": [Row(("accounts", "export", "accounts.json"))],
    "completion": [Row(("completion", "bash"), counts=(0,), widths=(None,))],
    "config-show": [Row(("config", "show"), counts=(0,))],
    "config-check": [Row(("config", "check"), counts=(0,))],
    "config-path": [Row(("config", "path"), counts=(0,))],
    "config-schema": [Row(("config", "schema"), counts=(0,), widths=(None,))],
    "doctor": [Row(("doctor",)), Row(("doctor",), counts=(1,), before=(("accounts", "disable", "NAME"),))],
    "explain": [Row(("explain",), counts=(0,)), Row(("explain", "quota"), counts=(0,))],
    "install": [Row(("install", "opencode"), counts=(0, 1))],
    "key-rotate": [Row(("key", "rotate"), counts=(0,))],
    "key-show": [Row(("key", "show"), counts=(0,))],
    "keys-create": [
        Row(("keys", "create", "ann"), counts=(0,)),
        Row(("keys", "create", "ci", "--accounts", "NAME", "--budget", "5/day"), counts=(1,)),
        Row(("keys", "create", "ann", "--budget", "5"), counts=(0,)),
        Row(("keys", "create", "ann@example.com"), counts=(0,)),
        Row(
            ("keys", "create", "bob", "--accounts", "NAME"),
            counts=(1,),
            before=(("keys", "create", "ann", "--accounts", "NAME"),),
        ),
    ],
    "keys-list": [
        Row(("keys", "list"), counts=(0,)),
        Row(
            ("keys", "list"),
            counts=(1,),
            before=(
                ("keys", "create", "ann", "--accounts", "NAME", "--budget", "5/day"),
                ("keys", "create", "ci", "--models", "claude-haiku-*", "--expires", "30d"),
                ("keys", "create", "twin", "--concurrency", "2"),
                ("keys", "create", "old"),
                ("keys", "revoke", "old"),
            ),
        ),
    ],
    "keys-revoke": [
        Row(("keys", "revoke", "ann"), counts=(0,)),
        Row(("keys", "revoke", "ann"), counts=(0,), before=(("keys", "create", "ann"),)),
    ],
    "keys-rotate": [
        Row(("keys", "rotate", "ann"), counts=(0,)),
        Row(("keys", "rotate", "ann"), counts=(0,), before=(("keys", "create", "ann"),)),
    ],
    "login": [
        Row(("login", "--builder-id", "--no-browser"), counts=(0,)),
        Row(("login", "--region", "moon"), counts=(0,)),
    ],
    "logout": [Row(("logout", "NAME"), counts=(0, 1), answers=(("[y/N]: ", "y"),))],
    "measure-caching": [
        Row(("measure", "caching"), counts=(0,)),
        Row(("measure", "caching"), counts=(1,), answers=(("[y/N]: ", "n"),)),
    ],
    "models": [Row(("models",))],
    "reload": [Row(("reload",), counts=(0,))],
    "report": [Row(("report", "report.md"), counts=(0,))],
    "run": [Row(("run", "claude"), counts=(0,))],
    "status": [Row(("status",)), Row(("status", "--health"), counts=(0,))],
    "stop": [Row(("stop",), counts=(0,))],
    "store-check": [Row(("store", "check"), counts=(0, 1))],
    "store-copy": [
        Row(("store", "copy", "--from", "files"), counts=(0,)),
        Row(("store", "copy"), counts=(0,)),
    ],
    "store-migrate": [Row(("store", "migrate"), counts=(0,))],
    "uninstall": [
        Row(("uninstall", "opencode"), counts=(0,)),
        Row(("uninstall", "opencode"), counts=(0,), before=(("install", "opencode"),)),
    ],
    "usage": [
        Row(("usage",)),
        Row(("usage", "--by", "project"), counts=(0,)),
        Row(("usage", "--forget", "--yes"), counts=(0,)),
        Row(("usage", "--diet"), counts=(0,)),
        Row(("usage", "--by", "day", "--since", "monday"), counts=(0,)),
    ],
}
"""What each file holds."""
STAYING: Final = {
    "dashboard", "demo", "env", "logs", "serve", "service-install", "service-status", "service-uninstall",
    "simulate",
}  # fmt: skip
"""Commands that stay, or tell of what outlives them: their tests are in test_golden_processes.py."""


def typed(row: Row) -> str:
    return "".join(f"{answer}\n" for _, answer in row.answers)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


ALL: Final = list(commands(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from opened(tmp_path_factory.mktemp("services"), NOW)


def test_every_command_has_a_file() -> None:
    assert {"-".join(path) for path in ALL} - STAYING <= set(ROWS)
    assert {path.stem for path in FOLDER.glob("*.txt")} == {*ROWS, *STAYING, "help", "mistakes"}


@pytest.mark.parametrize("name", ROWS)
def test_a_command_prints_what_is_written_down(scene: Scene, name: str) -> None:
    sections = []
    for row in ROWS[name]:
        for count in row.counts:
            for columns in row.widths:
                scene.begin(count)
                for words in row.before:
                    scene.run(words, None)
                done = scene.run(row.words, columns, typed(row))
                sections.append(section(row, count, columns, done))
    check(name, scene.masked("\n".join(sections)))


GROUPS = [(), ("accounts",), ("config",), ("key",), ("keys",), ("measure",), ("service",), ("store",)]
HELP = [Row((*path, "--help")) for path in [*GROUPS, *ALL]]
WRONG = ["usag", "login --builder", "serve --port x", "accounts show", "run emacs", "models a b"]


def test_help_prints_what_is_written_down(scene: Scene) -> None:
    """Wider terminals get the same lines, which a person reads best."""
    scene.begin(0)
    narrow, wide = (
        [section(row, 0, 80, scene.run(row.words, columns)) for row in HELP] for columns in WIDTHS
    )
    assert narrow == wide
    check("help", scene.masked("\n".join(narrow)))


def test_wrong_usage_prints_what_is_written_down(scene: Scene) -> None:
    scene.begin(0)
    rows = [Row(tuple(words.split())) for words in WRONG]
    check("mistakes", "\n".join(section(row, 0, 80, scene.run(row.words, 80)) for row in rows))


@pytest.mark.clients
@pytest.mark.parametrize("name", ROWS)
def test_the_real_program_in_a_real_terminal_prints_the_same_words(real: Scene, name: str) -> None:
    """At the time that it is; times, and with them where lines end, are not compared."""
    row, count = ROWS[name][0], ROWS[name][0].counts[-1]
    columns = row.widths[-1] or 80
    home = real.begin(count)
    environment = {**home.environment, "TERM": "xterm-256color"}
    child = home.terminal(
        *real.named(row.words), columns=columns, environment=environment, folder=home.folder
    )
    seen = ""
    for question, answer in row.answers if count else ():
        child.expect_exact(question)
        seen += f"{child.before}{child.after}"
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()

    shown = real.masked(f"{seen}{child.before}")
    written = (FOLDER / f"{name}.txt").read_text()
    head = section(row, count, row.widths[-1], _nothing()).splitlines()[0]
    (expected,) = (part for part in written.split("##### ")[1:] if f"##### {part}".startswith(head + "\n"))
    expected = expected.split("\n", 1)[1].split("\n(exit code")[0]
    assert in_any_width(shown) == in_any_width(expected)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from opened(tmp_path_factory.mktemp("services"))


def _nothing() -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 0, "", "")
