"""A stranger listens where the gateway was: no command sends him the key or a word, and each one says so."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import kiro_auth
from kiro_auth.gateway.discovery import Seat
from support.programs import KIRO_AUTH, SECONDS, Home
from support.stranger import NOBODY, Stranger, other_user, stranger

pytestmark = pytest.mark.timeout(180)

PROMPT = "my very private prompt"
CLIENT = """
import json, os, urllib.request
body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "PROMPT"}]}
request = urllib.request.Request(
    os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(),
    {"authorization": "Bearer " + os.environ["ANTHROPIC_AUTH_TOKEN"]},
)
with urllib.request.urlopen(request, timeout=30) as answer:
    print("answered", answer.status)
""".replace("PROMPT", PROMPT)


class Scene:
    """A home whose gateway was killed, and what listens at its port since; `before` is what it announced."""

    def __init__(self, home: Home, before: dict[str, Any], there: Stranger) -> None:
        self.home = home
        self.before = before
        self.there = there
        self.secrets = {before["key"], before["secret"], PROMPT}

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.before['port']}"

    def announce_again(self, **changed: Any) -> None:
        """As it was after the kill."""
        (self.home.state / "gateway.json").write_text(json.dumps({**self.before, **changed}))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self.home.run(*arguments, check=False)
        self.learn()
        return done

    def learn(self) -> None:
        """Remember the key and the secret of a gateway that a command has started."""
        with contextlib.suppress(FileNotFoundError):
            now = json.loads((self.home.state / "gateway.json").read_text())
            self.secrets |= {now["key"], now["secret"]}

    def assert_nothing_was_given_away(self) -> None:
        time.sleep(0.1)  # what was sent last is on its way
        heard = self.there.heard.decode()
        assert "KiroProof" not in heard
        assert not [word for word in self.secrets if word in heard]
        assert set(re.findall(r"^[A-Z]+ /\S*", heard, re.MULTILINE)) <= {"GET /kiro/proof"}


@pytest.fixture(
    params=[pytest.param(NOBODY, id="of another user"), pytest.param(None, id="without the secret")]
)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    user = request.param and other_user()
    home = Home(tmp_path)
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{CLIENT}")
    program.chmod(0o700)
    home.environment["PATH"] = f"{program.parent}{os.pathsep}{home.environment['PATH']}"
    home.keep_address()
    with home.started("serve") as gateway:
        assert gateway.stdout is not None
        gateway.stdout.readline()
        before = json.loads((home.state / "gateway.json").read_text())
        gateway.kill()
        gateway.wait(40)
    with stranger(before["port"], "claims", user=user) as there:
        yield Scene(home, before, there)
        home.stop_gateway()


@pytest.mark.parametrize(
    ("command", "code"), [("status", 1), ("status --json", 1), ("stop", 0), ("config show", 0)]
)
def test_a_command_that_asks_for_the_gateway_says_who_is_there(scene: Scene, command: str, code: int) -> None:
    done = scene.run(*command.split())

    assert done.returncode == code, done.stderr
    assert f"note: Where your gateway listened last ({scene.place}), " in done.stderr
    assert "Neither the key nor a word of yours was sent there (KA-STRANGER)." in done.stderr
    if command == "stop":
        assert done.stdout == "Not running.\n"
    if command == "status --json":
        assert json.loads(done.stdout)["listener"] == "stranger"
    scene.assert_nothing_was_given_away()


def test_no_other_command_gives_the_stranger_anything(scene: Scene) -> None:
    for command in (
        *("accounts", "accounts verify", "usage", "models", "logs", "key show", "key new", "stop"),
        *("install opencode", "explain KA-STRANGER"),
    ):
        scene.run(*command.split())
        scene.assert_nothing_was_given_away()


OPENS = {
    "gateway/calls.py": "a call of the user's gateway, which proves itself first",
    "socket_owners.py": "a look whether anything listens, which sends nothing",
    "updates.py": "the index of releases that the user named",
    "demo/client.py": "the demonstration's own gateway, with a key of its own",
    "kiro/edge/connecting.py": "the services",
    "kiro/edge/proxies.py": "none: which proxies the system names",
}
"""The modules that open connections, and to what."""


def test_only_these_modules_open_connections() -> None:
    source = Path(kiro_auth.__file__).parent
    opening = re.compile(r"create_connection|open_connection|HTTPConnection|urllib\.request|ClientSession\(")
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if "simulator" not in path.parts and opening.search(path.read_text())
    }

    assert found == set(OPENS)


def test_doctor_finds_the_stranger_and_takes_the_old_address_away(scene: Scene) -> None:
    (found,) = [
        c for c in json.loads(scene.run("doctor", "--json").stdout)["checks"] if c["check"] == "gateway"
    ]
    scene.run("doctor", "--fix")

    assert (found["level"], found["fixable"]) == ("warning", True)
    assert scene.place in found["message"]
    assert not (scene.home.state / "gateway.json").exists()
    scene.assert_nothing_was_given_away()


def test_env_starts_a_gateway_elsewhere_and_its_windows_hear_of_the_stranger(scene: Scene) -> None:
    done = scene.run("env", "claude")

    assert done.returncode == 0
    assert f"({scene.place})" in done.stderr
    assert scene.place not in done.stdout
    notices = [notice["message"] for notice in asked(scene.home, "/kiro/notices")["notices"]]
    told_of = [notice for notice in notices if scene.place in notice]
    logged = f"({scene.place})" in (scene.home.state / "gateway.log").read_text()
    assert logged
    assert len(told_of) == (1 if is_another_user_s(done.stderr) else 0), (
        "of one's own, no window needs to hear"
    )
    scene.assert_nothing_was_given_away()


def test_a_program_that_run_starts_sends_its_words_to_the_gateway_alone(scene: Scene) -> None:
    with scene.home.simulator("--auto-approve"):
        scene.home.run("login", "--builder-id", "--no-browser")
        done = scene.run("run", "claude")

    assert (done.returncode, done.stdout) == (0, "answered 200\n"), done.stderr
    assert f"({scene.place})" in done.stderr
    scene.assert_nothing_was_given_away()


def test_no_stranger_is_asked_to_make_room_for_a_newer_version(scene: Scene) -> None:
    """As if a gateway ran that announces the stranger's port."""
    seat = Seat(scene.home.state)
    assert seat.take()
    scene.announce_again(version="0.0.1")
    done = scene.run("serve")
    seat.leave()

    assert (done.returncode, "(KA-STRANGER)" in done.stderr) == (1, True)
    scene.assert_nothing_was_given_away()


def test_serve_in_the_place_of_an_older_one_that_was_killed_says_who_is_there(scene: Scene) -> None:
    scene.announce_again(version="0.0.1")
    with subprocess.Popen(
        [*KIRO_AUTH, "serve"],
        env=scene.home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "Listening" in process.stdout.readline()
        scene.learn()
        process.terminate()
        _, said = process.communicate(timeout=SECONDS)

    assert f"({scene.place})" in said
    scene.assert_nothing_was_given_away()


def is_another_user_s(said: str) -> bool:
    return "of the user nobody" in said


def asked(home: Home, path: str) -> Any:
    """The gateway's answer, asked as a program that was told its address and key."""
    gateway = json.loads((home.state / "gateway.json").read_text())
    url = f"http://127.0.0.1:{gateway['port']}{path}"
    request = urllib.request.Request(url, headers={"x-api-key": gateway["key"]})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_stop_ends_no_process_by_a_number_from_a_stale_file(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.state.mkdir(parents=True)
    with stranger(manner="polite") as there, subprocess.Popen(["sleep", "60"]) as innocent:
        announced = {"port": there.port, "key": "k", "secret": "s", "pid": innocent.pid, "version": "9"}
        (home.state / "gateway.json").write_text(json.dumps(announced))

        assert home.run("stop").stdout == "Not running.\n"
        time.sleep(0.2)
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.clients
def test_a_gateway_that_hangs_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.started("serve") as gateway:
        assert gateway.stdout is not None
        gateway.stdout.readline()
        gateway.send_signal(signal.SIGSTOP)
        try:
            with ThreadPoolExecutor() as threads:
                verbs = [["stop"], ["status"], ["env", "claude"], ["doctor"]]
                said = list(threads.map(lambda verb: home.run(*verb, check=False), verbs))
        finally:
            gateway.send_signal(signal.SIGCONT)
        stopped, shown, started, looked = said

        assert [done.returncode for done in said[:3]] == [1, 1, 1]
        for text in (stopped.stderr, shown.stdout, started.stderr, looked.stdout):
            assert "runs, but it does not answer (KA-GATEWAY)." in text
            assert f"end process {gateway.pid}, if that is `kiro-auth serve`" in text
        assert home.run("stop").stdout == "Stopped.\n"
        assert gateway.wait(40) == 0
