"""The address that `kiro-auth run` tells a program is its own as long as the program runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.processes import children, gone
from support.programs import Home
from support.stranger import listener_process, other_user

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
import json, os, pathlib, sys, time, urllib.request
folder = pathlib.Path(os.environ["HOME"])
url, key = os.environ["ANTHROPIC_BASE_URL"], os.environ["ANTHROPIC_AUTH_TOKEN"]
print(json.dumps([url, key]), flush=True)
for number in range(int(sys.argv[1])):
    while not (folder / f"turn-{number}").exists():
        time.sleep(0.02)
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    path, data = ("v1/messages", json.dumps(body).encode()) if "chat" in sys.argv else ("kiro/accounts", None)
    request = urllib.request.Request(f"{url}/{path}", data, {"x-api-key": key})
    with urllib.request.urlopen(request, timeout=60) as answer:
        print("answered", answer.status, flush=True)
"""


class Running:
    """`kiro-auth run` with a program that makes a request whenever it is told to."""

    def __init__(self, home: Home, process: Any) -> None:
        self.home = home
        self.process = process
        self.url, self.key = json.loads(process.stdout.readline())
        self.port = int(self.url.rpartition(":")[2])
        self._turns = 0

    def turn(self) -> None:
        """Have the program make its next request."""
        (self.home.folder / f"turn-{self._turns}").touch()
        self._turns += 1

    def answer(self) -> str:
        return str(self.process.stdout.readline())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PROGRAM}")
    program.chmod(0o700)
    home.environment["PATH"] = f"{program.parent}{os.pathsep}{home.environment['PATH']}"
    home.keep_address()
    try:
        yield home
    finally:
        home.stop_gateway()


def announced(home: Home) -> dict[str, Any]:
    return json.loads((home.state / "gateway.json").read_text())


def eventually(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def gateways(run: int) -> list[int]:
    """Those that this `run` has started."""
    return [pid for pid, command in children(run) if b"--listener" in command]


def test_the_gateway_is_killed_and_nobody_else_gets_its_port_and_the_next_request_is_answered(
    home: Home,
) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(home.simulator("--auto-approve"))
        home.run("login", "--builder-id", "--no-browser")
        process = stack.enter_context(home.started("run", "claude", "2", "chat"))
        run = Running(home, process)
        run.turn()
        assert run.answer() == "answered 200\n"
        before = announced(home)
        os.kill(before["pid"], signal.SIGKILL)
        eventually(lambda: gone(before["pid"]))

        with listener_process(run.port, user=other_user()) as thief:
            assert thief.stdout is not None
            assert b"cannot listen" in thief.stdout.read()
        run.turn()

        assert run.answer() == "answered 200\n"
        after = announced(home)
        assert process.wait(40) == 0
    assert (before["port"], before["key"]) == (after["port"], after["key"])
    assert run.port != before["port"], "its own, held beside the one that all programs are told"
    assert run.key != before["key"]
    assert before["secret"] != after["secret"]


def test_without_another_gateway_it_is_that_of_all_windows_and_outlives_the_program(home: Home) -> None:
    with home.started("run", "claude", "0") as process:
        run = Running(home, process)
        assert process.wait(40) == 0

    status = home.json("status")
    assert (status["running"], status["url"]) == (True, f"http://127.0.0.1:{announced(home)['port']}")
    assert status["url"] != run.url


@pytest.mark.clients
def test_beside_another_gateway_it_keeps_to_itself_and_ends_with_the_program(home: Home) -> None:
    with home.started("serve") as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = announced(home)
        with home.started("run", "claude", "1") as process:
            run = Running(home, process)
            (beside,) = gateways(process.pid)
            assert run.port != before["port"]
            assert run.key != before["key"]
            run.turn()
            assert run.answer() == "answered 200\n"
            assert process.wait(40) == 0

        assert gone(beside)
        assert announced(home) == before
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{run.url}/health", timeout=5)


def test_after_a_stop_the_next_request_starts_it_anew(home: Home) -> None:
    with home.started("run", "claude", "1") as process:
        run = Running(home, process)
        before = announced(home)
        assert home.run("stop").stdout == "Stopped.\n"
        assert home.run("status", check=False).returncode == 1
        run.turn()

        assert run.answer() == "answered 200\n"
        assert announced(home)["port"] == before["port"]
        assert process.wait(40) == 0


def test_a_newer_version_takes_over_and_the_program_goes_on_where_it_was(home: Home) -> None:
    with home.started("run", "claude", "1") as process:
        run = Running(home, process)
        older = announced(home)
        (home.state / "gateway.json").write_text(json.dumps({**older, "version": "0.0.1"}))
        with home.started("serve") as newer:
            assert newer.stdout is not None
            assert "Listening" in newer.stdout.readline()
            after = announced(home)
            assert after["port"] == older["port"] != run.port
            eventually(lambda: gone(older["pid"]))
            run.turn()

            assert run.answer() == "answered 200\n"
            assert announced(home) == after
            assert process.wait(40) == 0


@pytest.mark.clients
def test_one_that_fails_at_once_is_not_started_in_a_tight_loop_and_says_why(home: Home) -> None:
    with home.started("run", "claude", "1") as process:
        run = Running(home, process)
        lock = home.state / "gateway.lock"
        os.kill(announced(home)["pid"], signal.SIGKILL)
        killed = time.monotonic()
        eventually(lambda: gone(announced(home)["pid"]))
        lock.unlink(missing_ok=True)
        lock.mkdir()  # no gateway can begin with that
        run.turn()
        log = home.state / "gateway.log"
        eventually(lambda: log.read_text().count("cannot be used") >= 2)
        time.sleep(3)
        tries, seconds = log.read_text().count("cannot be used"), time.monotonic() - killed
        lock.rmdir()

        assert tries <= 3 + seconds / 2
        assert run.answer() == "answered 200\n"
        assert process.wait(40) == 0


def test_why_the_first_one_does_not_start_is_said_before_the_program_begins(home: Home) -> None:
    home.environment["KIRO_API_KEY"] = "zzz"

    refused = home.run("run", "claude", "0", check=False)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: The gateway did not start: KIRO_API_KEY holds no Kiro API key")
    del home.environment["KIRO_API_KEY"]


def test_the_key_is_told_to_no_process_list(home: Home) -> None:
    with home.started("run", "claude", "0") as process:
        run = Running(home, process)
        gateway = announced(home)["pid"]
        shown = Path(f"/proc/{gateway}/cmdline").read_bytes()
        assert process.wait(40) == 0

    assert run.key.encode() not in shown
    assert b"--listener" in shown


def test_the_program_does_not_get_the_sockets_and_the_gateway_hands_them_to_nobody(home: Home) -> None:
    with home.started("run", "claude", "1") as process:
        run = Running(home, process)
        gateway = announced(home)["pid"]
        program = next(pid for pid, command in children(process.pid) if b"bin/claude" in command)
        held = sockets(process.pid) & sockets(gateway)

        assert len(held) == 2, "127.0.0.1 and ::1"
        assert not held & sockets(program)
        for descriptor in Path(f"/proc/{gateway}/fd").iterdir():
            if os.readlink(descriptor) in held:
                flags = Path(f"/proc/{gateway}/fdinfo/{descriptor.name}").read_text()
                assert int(flags.split("flags:")[1].split()[0], 8) & 0o2000000, "closed on exec"
        run.turn()
        assert run.answer() == "answered 200\n"
        assert process.wait(40) == 0


def sockets(pid: int) -> set[str]:
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return {link for link in links if link.startswith("socket:")}
