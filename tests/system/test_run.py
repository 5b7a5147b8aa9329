"""`kiro-auth run` and `env`: the real clients, one command away."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest

from support.codex import CODEX
from support.npm import npm_package
from support.opencode import OFFLINE, VERSIONS, OpenCode
from support.programs import KIRO_AUTH, Home, Simulator
from system.test_clients import CLAUDE_CODE, PROMPT, assert_done

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


@pytest.fixture
def home(home: Home) -> Home:
    (home.folder / "bin").mkdir()
    (home.folder / "project").mkdir()
    home.environment |= {**OFFLINE, "PWD": str(home.folder / "project")}  # OpenCode works in $PWD
    home.environment["PATH"] = f"{home.folder / 'bin'}{os.pathsep}{home.environment['PATH']}"
    return home


@pytest.fixture
def simulator(home: Home, simulator: Simulator) -> Simulator:
    home.run("login", "--builder-id", "--no-browser")
    return simulator


def run(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KIRO_AUTH, "run", *arguments],
        cwd=home.folder / "project",
        env=home.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )


def clients_in_the_log(home: Home) -> set[str]:
    """How the gateway's log calls the programs whose turns it had."""
    lines = home.run("logs", "-n", "999", "--json").stdout.splitlines()
    return {record["client"] for record in map(json.loads, lines) if record.get("event") == "turn"}


def test_claude_code_finishes_a_task(home: Home, simulator: Simulator) -> None:
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    (home.folder / "bin" / "claude").symlink_to(binary)
    home.environment |= {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",  # without it, it refuses to skip permissions for root
        "ANTHROPIC_API_KEY": "another key, which must not be used",
        "CLAUDE_CODE_USE_BEDROCK": "1",  # nor another service
    }
    (home.folder / "project" / "secrets.py").write_text("raise SystemExit('code of the project ran')")
    assert run(home, "claude", "--version").returncode == 0  # has the gateway started
    for name in ("NO_PROXY", "no_proxy"):  # from here on all would go through a proxy that nobody serves
        del home.environment[name]

    done = run(home, "claude", "-p", "--dangerously-skip-permissions", PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(home.folder / "project", simulator)
    assert clients_in_the_log(home) == {"Claude Code"}


@pytest.mark.clients
def test_claude_code_is_served_by_the_account_that_it_was_started_for_and_says_so_when_that_fails(
    home: Home, simulator: Simulator
) -> None:
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    (home.folder / "bin" / "claude").symlink_to(binary)
    home.environment |= {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",
        "ANTHROPIC_CUSTOM_HEADERS": "x-team: red",
    }
    home.run("login", "--builder-id", "--no-browser")
    flags = ("-p", "--dangerously-skip-permissions")

    done = run(home, "--account", "GRACE@example.com", "claude", *flags, PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(home.folder / "project", simulator)
    assert {call["user"] for call in simulator.calls()} == {"grace@example.com"}

    simulator.ask("user", {"email": "grace@example.com", "used": 50})
    before = len(simulator.calls())
    failed = run(home, "--account", "grace", "claude", *flags, "Say hello.")
    assert failed.returncode != 0
    alone = "The request asked for the account g***@example.com alone, so no other was tried (KA-QUOTA)."
    assert alone in failed.stdout + failed.stderr
    assert {call["user"] for call in simulator.calls()[before:]} <= {"grace@example.com"}

    home.run("accounts", "disable", "grace")
    refused = run(home, "--account", "grace", "claude", *flags, "Say hello.")
    assert (refused.returncode, "is disabled" in refused.stderr) == (1, True)


@pytest.mark.clients
def test_claude_code_is_served_by_the_account_of_its_project(home: Home, simulator: Simulator) -> None:
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    (home.folder / "bin" / "claude").symlink_to(binary)
    home.environment |= {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "IS_SANDBOX": "1"}
    home.run("login", "--builder-id", "--no-browser")
    settings = home.folder / "project" / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{"env": {"ANTHROPIC_CUSTOM_HEADERS": "x-kiro-account: g***@example.com"}}')

    done = run(home, "claude", "-p", "Say hello.")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {call["user"] for call in simulator.calls()} == {"grace@example.com"}


def test_codex_finishes_a_task(home: Home, simulator: Simulator) -> None:
    vendor = npm_package("@openai/codex", CODEX).parent / "codex-linux-x64" / "vendor"
    (home.folder / "bin" / "codex").symlink_to(vendor / "x86_64-unknown-linux-musl" / "bin" / "codex")
    flags = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")

    done = run(home, "codex", "exec", *flags, PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(home.folder / "project", simulator)
    assert clients_in_the_log(home) == {"Codex"}


@pytest.mark.clients
@pytest.mark.parametrize("with_plugin", [False, True], ids=["alone", "with the plugin"])
def test_opencode_finishes_a_task(home: Home, simulator: Simulator, with_plugin: bool) -> None:
    opencode = OpenCode(VERSIONS[0], home)
    (home.folder / "bin" / "opencode").symlink_to(opencode.binary)
    if with_plugin:
        home.run("install", "opencode")

    done = run(home, "opencode", "run", "-m", "kiro/claude-sonnet-4-5", PROMPT)

    assert done.returncode == 0, done.stdout + done.stderr
    assert_done(home.folder / "project", simulator)
    assert clients_in_the_log(home) == {"OpenCode"}


@pytest.mark.clients
def test_codex_is_served_by_the_account_that_it_was_started_for(home: Home, simulator: Simulator) -> None:
    vendor = npm_package("@openai/codex", CODEX).parent / "codex-linux-x64" / "vendor"
    (home.folder / "bin" / "codex").symlink_to(vendor / "x86_64-unknown-linux-musl" / "bin" / "codex")
    home.run("login", "--builder-id", "--no-browser")

    done = run(home, "--account", "grace", "codex", "exec", "--skip-git-repo-check", "Say hello.")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {call["user"] for call in simulator.calls()} == {"grace@example.com"}


@pytest.mark.clients
@pytest.mark.parametrize("with_plugin", [False, True], ids=["alone", "with the plugin"])
@pytest.mark.parametrize("by", ["option", "file of the project"])
def test_opencode_is_served_by_the_account_that_it_was_started_for(
    home: Home, simulator: Simulator, with_plugin: bool, by: str
) -> None:
    opencode = OpenCode(VERSIONS[0], home)
    (home.folder / "bin" / "opencode").symlink_to(opencode.binary)
    home.run("login", "--builder-id", "--no-browser")
    if with_plugin:
        home.run("install", "opencode")
    options = ("--account", "grace") if by == "option" else ()
    if by == "file of the project":
        headers = {"options": {"headers": {"x-kiro-account": "g***@example.com"}}}
        (home.folder / "project" / "opencode.json").write_text(json.dumps({"provider": {"kiro": headers}}))

    done = run(home, *options, "opencode", "run", "-m", "kiro/claude-sonnet-4-5", "Say hello.")

    assert done.returncode == 0, done.stdout + done.stderr
    assert {call["user"] for call in simulator.calls()} == {"grace@example.com"}


@pytest.mark.clients
@pytest.mark.parametrize("with_plugin", [False, True], ids=["alone", "with the plugin"])
def test_opencode_begins_with_the_model_asked_for_and_keeps_its_own_content(
    home: Home, simulator: Simulator, with_plugin: bool
) -> None:
    opencode = OpenCode(VERSIONS[0], home)
    (home.folder / "bin" / "opencode").symlink_to(opencode.binary)
    home.environment["OPENCODE_CONFIG_CONTENT"] = '{"username": "ada", // mine\n"model": "other/one",}'
    if with_plugin:
        home.run("install", "opencode")

    shown = run(home, "--model", "claude-haiku-4-5", "opencode", "debug", "config").stdout
    done = run(home, "--model", "claude-haiku-4-5", "opencode", "run", "--title", "A title", "Say hello.")

    assert json.loads(shown)["username"] == "ada"
    assert done.returncode == 0, done.stdout + done.stderr
    states = [call["body"]["conversationState"] for call in simulator.calls()]
    models = {state["currentMessage"]["userInputMessage"]["modelId"] for state in states}
    assert models == {"claude-haiku-4.5"}


def test_content_that_cannot_be_read_is_named(home: Home, simulator: Simulator) -> None:
    (home.folder / "bin" / "opencode").symlink_to("/bin/true")
    home.environment["OPENCODE_CONFIG_CONTENT"] = '{"username": '

    done = run(home, "opencode")

    assert done.returncode == 1
    assert done.stderr.startswith("error: OPENCODE_CONFIG_CONTENT holds no JSON object")


def test_the_program_s_exit_code_and_arguments_are_its_own(home: Home, simulator: Simulator) -> None:
    program = home.folder / "bin" / "codex"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    program.chmod(0o700)

    done = run(home, "--model", "claude-haiku-4-5", "codex", "exec", "--model", "x", "a b")

    assert done.returncode == 7
    assert done.stdout.splitlines()[-4:] == ["exec", "--model", "x", "a b"]
    assert 'model="claude-haiku-4-5"' in done.stdout


@pytest.mark.parametrize(
    ("number", "ends", "code"),
    [
        pytest.param(
            signal.SIGTERM, "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))", 9, id="handled"
        ),
        pytest.param(signal.SIGTERM, "", 128 + signal.SIGTERM, id="killed"),
        pytest.param(signal.SIGHUP, "", 128 + signal.SIGHUP, id="terminal-closed"),
    ],
)
def test_a_signal_is_for_the_program_and_its_status_is_ours(
    home: Home, simulator: Simulator, number: int, ends: str, code: int
) -> None:
    program = home.folder / "bin" / "codex"
    program.write_text(
        f"#!{sys.executable}\nimport os, signal, sys\n{ends}\n"
        "print(os.getpid(), flush=True)\nsignal.pause()\n"
    )
    program.chmod(0o700)

    with home.started("run", "codex") as started:
        assert started.stdout is not None
        pid = int(started.stdout.readline())
        started.send_signal(number)

        assert started.wait(40) == code
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_program_that_is_no_program_is_named(home: Home, simulator: Simulator) -> None:
    program = home.folder / "bin" / "codex"
    program.write_text("echo without a first line that names its interpreter\n")
    program.chmod(0o700)

    done = run(home, "codex")

    assert done.returncode == 1
    assert (
        f"error: {program} cannot be started: it is no program for this machine (KA-CONFIG)." in done.stderr
    )
    assert "npm install -g @openai/codex" in done.stderr


def test_a_program_that_is_not_there_is_named_with_its_package(home: Home, simulator: Simulator) -> None:
    home.environment["PATH"] = str(home.folder / "bin")

    done = run(home, "codex")

    assert done.returncode == 1
    assert "npm install -g @openai/codex" in done.stderr
    assert not (home.state / "gateway.json").exists()


def test_the_lines_for_the_shell_set_what_run_sets(home: Home, simulator: Simulator) -> None:
    lines = home.run("env", "claude").stdout
    told = home.json("env", "claude")

    shown = subprocess.run(
        ["sh", "-c", f"{lines}\nenv"],
        env={"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": "old"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    variables = dict(line.partition("=")[::2] for line in shown.splitlines() if "=" in line)
    assert "ANTHROPIC_API_KEY" not in variables
    assert {name: variables.get(name) for name in told["variables"]} == told["variables"]
    gateway = json.loads((home.state / "gateway.json").read_text())
    assert variables["ANTHROPIC_AUTH_TOKEN"] == gateway["key"]
    note = home.run("env", "codex").stderr
    assert shlex.split(note.partition("it with: ")[2])[:2] == ["codex", "-c"]
