"""What a program was told of the gateway stays true, whatever becomes of the gateway."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.npm import npm_package
from support.opencode import OFFLINE, VERSIONS, OpenCode
from support.programs import KIRO_AUTH, Home, Simulator, Terminal, as_usual
from support.stranger import NOBODY, other_user, stranger
from system.test_clients import CLAUDE_CODE

pytestmark = pytest.mark.timeout(240)

ANSWER = "Hello from the simulated model"
BODY = {
    "model": "claude-sonnet-4-5", "max_tokens": 99, "messages": [{"role": "user", "content": "Say hello."}],
}  # fmt: skip
CURL = (
    'curl -sS -m 60 "$ANTHROPIC_BASE_URL/v1/messages" -H "authorization: Bearer $ANTHROPIC_AUTH_TOKEN" '
    f"-d '{json.dumps(BODY)}'"
)
CLAUDE = 'claude -p --dangerously-skip-permissions "Say hello."'


class Shell:
    """A shell that a person works in, which has evaluated what `kiro-auth env claude` prints."""

    def __init__(self, home: Home) -> None:
        self._bash = Terminal(
            "bash",
            ["--norc", "--noprofile"],
            env={**home.environment, "PS1": "", "BASH_SILENCE_DEPRECATION_WARNING": "1"},
            cwd=str(home.folder),
            encoding="utf-8",
            timeout=400,
            echo=False,
        )
        self._count = 0
        self.run(f'eval "$({" ".join(KIRO_AUTH)} env claude)"')

    def run(self, line: str) -> str:
        """What one line prints."""
        self._count += 1
        mark = f"done-{self._count}"
        self._bash.sendline(f"{line}; echo do''ne-{self._count}")
        self._bash.expect_exact(mark)
        return str(self._bash.before)

    def close(self) -> None:
        self._bash.close(force=True)


@pytest.fixture
def home(home: Home, simulator: Simulator) -> Home:
    """Signed in, the plugin installed, and a folder for programs on the PATH."""
    (home.folder / "bin").mkdir()
    home.environment["PATH"] = f"{home.folder / 'bin'}{os.pathsep}{home.environment['PATH']}"
    home.run("install", "opencode")
    home.run("login", "--builder-id", "--no-browser")
    home.keep_address()
    return home


@pytest.fixture
def shell(home: Home) -> Iterator[Shell]:
    with contextlib.closing(Shell(home)) as shell:
        yield shell


def announced(home: Home) -> dict[str, Any]:
    return dict(json.loads((home.state / "gateway.json").read_text()))


def kept(home: Home) -> dict[str, Any]:
    return dict(json.loads((home.state / "address.json").read_text()))


@contextlib.contextmanager
def by_serve(home: Home) -> Iterator[None]:
    with home.started("serve") as process:
        assert process.stdout is not None
        assert "Listening" in process.stdout.readline()
        yield


@contextlib.contextmanager
def by_another_env(home: Home) -> Iterator[None]:
    home.run("env", "codex")
    yield


@contextlib.contextmanager
def by_a_window_of_opencode(home: Home) -> Iterator[None]:
    opencode = OpenCode(VERSIONS[0], home)
    done = opencode.run(
        "run", "--title", "A title", "-m", "kiro/claude-sonnet-4-5", "Say hello.", seconds=400
    )
    assert done.returncode == 0, done.stderr
    yield


STARTS = [
    pytest.param(by_serve, id="serve"),
    pytest.param(by_another_env, id="another env"),
    pytest.param(
        by_a_window_of_opencode, id="an OpenCode window", marks=[pytest.mark.real, pytest.mark.clients]
    ),
]


@pytest.mark.parametrize("start", STARTS)
def test_after_a_stop_and_any_later_start_the_same_shell_s_next_request_works(
    home: Home, shell: Shell, start: Callable[[Home], contextlib.AbstractContextManager[None]]
) -> None:
    assert ANSWER in shell.run(CURL)
    before = announced(home)
    assert home.run("stop").stdout == "Stopped.\n"
    assert "Failed to connect" in shell.run(CURL)

    with start(home):
        assert ANSWER in shell.run(CURL)
        after = announced(home)

    assert (after["port"], after["key"]) == (before["port"], before["key"])
    assert after["secret"] != before["secret"]


@pytest.mark.real
@pytest.mark.clients
def test_the_real_claude_code_in_the_same_shell_works_after_a_stop_and_a_start(
    home: Home, shell: Shell
) -> None:
    binary = npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude"
    (home.folder / "bin" / "claude").symlink_to(binary)
    shell.run("export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 IS_SANDBOX=1")
    for name, value in OFFLINE.items():
        shell.run(f"export {name}='{value}'")
    assert ANSWER in shell.run(CLAUDE)
    home.run("stop")

    with by_serve(home):
        assert ANSWER in shell.run(CLAUDE)


def test_an_upgrade_leaves_the_shell_s_lines_true(home: Home, shell: Shell) -> None:
    before = announced(home)
    (home.state / "gateway.json").write_text(json.dumps({**before, "version": "0.0.1"}))
    with by_serve(home):
        assert ANSWER in shell.run(CURL)
        after = announced(home)

    assert after["pid"] != before["pid"]
    assert (after["port"], after["stays"]) == (before["port"], True)


UNUSED_SECONDS = 12
UNUSED = ("--idle-minutes", str(UNUSED_SECONDS / 60))


@pytest.mark.clients
def test_a_gateway_that_env_told_of_does_not_end_unused_nor_does_the_one_after_it(home: Home) -> None:
    with home.started("serve", *UNUSED) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told = home.run("env", "claude").stderr
        time.sleep(1.5 * UNUSED_SECONDS)
        assert process.poll() is None
        assert "stays until kiro-auth stop" not in home.run("env", "claude").stderr, "said once"
        process.kill()
    with home.started("serve", *UNUSED) as process:  # as OpenCode would start it
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.5 * UNUSED_SECONDS)
        assert process.poll() is None
        home.run("stop")
        assert process.wait(40) == 0
    assert "The gateway stays until kiro-auth stop" in told
    with home.started("serve", *UNUSED) as process:
        assert process.wait(30) == 0, "that one nobody was told of"


@pytest.mark.parametrize("way", [pytest.param("stopped", marks=pytest.mark.clients), "killed"])
@pytest.mark.parametrize(
    "user",
    [pytest.param(NOBODY, id="another user", marks=pytest.mark.clients), pytest.param(None, id="one's own")],
)
def test_a_kept_port_that_something_else_has_is_no_trap(home: Home, user: int | None, way: str) -> None:
    told = home.json("env", "claude")["variables"]
    before = announced(home)
    if way == "stopped":
        home.run("stop")
    else:
        os.kill(before["pid"], signal.SIGKILL)
    with stranger(before["port"], "claims", user=user and other_user()) as there:
        looked = home.run("status", check=False)
        again = home.run("env", "claude")
        running = announced(home)
        doctor = home.json("doctor")["checks"]
        shown = home.run("status")

        assert not [secret for secret in (before["key"], before["secret"]) if secret.encode() in there.heard]
    whose = "a program of the user nobody (uid 65534)" if user else "another program of yours"
    sentence = f"{whose} listened at its address (127.0.0.1:{before['port']})"
    listens = f"(127.0.0.1:{before['port']}), {whose} listens now"
    assert listens in looked.stderr, "before there is another"
    moved = f"The gateway has moved to port {running['port']}, "
    moved += "and has a new key" if user else "with the key it had"
    code = "KA-STRANGER" if user else "KA-PORT"
    log = (home.state / "gateway.log").read_text()
    (found,) = [check["message"] for check in doctor if "moved" in check["message"]]
    for place in (again.stderr, log, found, shown.stderr):
        assert sentence in place
    for place in (again.stderr, log, shown.stderr):
        assert f"{moved} ({code})." in place
    assert f"{moved}." in found, "a check of doctor has its code beside it"
    assert running["port"] != before["port"]
    assert (running["key"] != before["key"]) == (user is not None)
    assert f"http://127.0.0.1:{running['port']}\n" in again.stdout
    assert told["ANTHROPIC_AUTH_TOKEN"] == before["key"]
    home.run("stop")
    assert home.json("env", "claude")["variables"]["ANTHROPIC_BASE_URL"].endswith(f":{running['port']}")
    home.run("doctor", "--fix", check=False)
    assert home.run("status").stderr == ""


def test_serve_says_in_its_own_output_that_it_has_moved(home: Home) -> None:
    home.run("key", "show")
    with stranger(kept(home)["port"]) as there:
        with subprocess.Popen(
            as_usual(*KIRO_AUTH, "serve"), env=home.environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            first = process.stdout.readline()
            process.terminate()
            _, said = process.communicate(timeout=120)

        assert f"Listening at http://127.0.0.1:{there.port + 1}; " in first
        assert f"The gateway has moved to port {there.port + 1}, with the key it had (KA-PORT)." in said


KEEP_RUNNING = """
import sys
from pathlib import Path
from kiro_auth.clients.held_gateway import keep_running
keep_running(Path(sys.argv[1]), print, lambda failure: print(failure.message, flush=True))
"""


def test_where_no_socket_can_be_held_run_starts_the_gateway_again_where_it_was(home: Home) -> None:
    """What `kiro-auth run` does beside the program on Windows."""
    home.run("env", "claude")
    before = announced(home)
    command = [sys.executable, "-c", KEEP_RUNNING, str(home.state)]
    with subprocess.Popen(command, env=home.environment, stdout=subprocess.PIPE, text=True) as keeping:
        os.kill(before["pid"], signal.SIGKILL)
        end = time.monotonic() + 60
        while announced(home)["pid"] == before["pid"]:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert home.json("status")["running"] is True
        keeping.kill()
        assert keeping.stdout is not None
        assert keeping.stdout.read() == ""
    after = announced(home)
    assert (after["port"], after["key"]) == (before["port"], before["key"])


@pytest.mark.clients
def test_starters_at_once_have_one_gateway_and_say_the_same(home: Home) -> None:
    with ThreadPoolExecutor() as threads:
        said = list(threads.map(lambda _: home.run("env", "claude").stdout, range(4)))

    assert len(set(said)) == 1
    assert f"http://127.0.0.1:{kept(home)['port']}\n" in said[0]
    home.run("stop")
    time.sleep(3)
    assert home.run("status", check=False).stdout.startswith("Not running."), "none of them comes too late"


@pytest.mark.clients
def test_a_damaged_file_costs_a_new_address_which_is_told(home: Home) -> None:
    told = home.run("env", "claude").stdout
    home.run("stop")
    (home.state / "address.json").write_text("{")
    again = home.run("env", "claude")

    assert again.stdout != told
    assert "note: address.json could not be read, so the gateway has a new port" in again.stderr
    assert home.run("env", "claude").stdout == again.stdout


@pytest.mark.clients
def test_with_replace_a_gateway_in_a_terminal_takes_the_place_and_the_address(home: Home) -> None:
    home.run("env", "claude")
    before = announced(home)
    with home.started("serve", "--replace") as process:
        assert process.stdout is not None
        assert f"Listening at http://127.0.0.1:{before['port']}; " in process.stdout.readline()
        assert announced(home)["pid"] == process.pid
