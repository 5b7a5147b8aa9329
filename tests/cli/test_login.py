"""`login`: Ctrl-C at its prompts, and a store that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest

from support.programs import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_one_ctrl_c_at_the_prompt_for_a_key_ends_it(home: Home) -> None:
    child = home.terminal("login", "--api-key")
    child.expect("Kiro API key")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()

    assert "Cancelled; nothing was changed." in str(child.before)
    assert child.exitstatus == 130
    assert list(home.folder.rglob("kiro-accounts.json")) == []


@pytest.mark.parametrize("arguments", [["--builder-id", "--no-browser"], ["--api-key"]])
def test_a_store_that_cannot_be_used_is_told_before_anybody_confirms_anything(
    home: Home, arguments: list[str]
) -> None:
    home.state.mkdir(parents=True)
    (home.state / "locks").write_text("no folder")
    with home.simulator("--auto-approve") as simulator:
        done = home.run("login", *arguments, stdin="ksk_simulated_ada_0001\n", check=False)

        assert (done.returncode, done.stdout) == (1, "")
        assert "cannot be read or written" in done.stderr
        assert simulator.ask("calls")["calls"] == []


@pytest.mark.parametrize(
    ("program", "command"),
    [("opencode", "kiro-auth install opencode"), ("claude", "kiro-auth run claude")],
)
def test_in_a_terminal_it_ends_with_what_is_next_for_what_is_installed(
    home: Home, program: str, command: str
) -> None:
    programs = home.folder / "bin"
    programs.mkdir()
    (programs / program).write_text("#!/bin/sh\n")
    (programs / program).chmod(0o755)
    home.environment["PATH"] = f"{programs}:/usr/bin:/bin"
    with home.simulator("--auto-approve"):
        child = home.terminal("login", "--builder-id", "--no-browser", columns=80)
        child.expect("Signed in: ")
        child.expect("Next:")
        child.expect(command)
        child.expect("kiro-auth usage")
        child.expect(pexpect.EOF)
        piped = home.run("login", "--builder-id", "--no-browser").stdout

    assert "Next:" not in piped, "a program that reads the output is told the facts alone"
