"""A newer version takes the place of an older one, and cuts no answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kiro_auth.gateway.discovery import Seat, is_older
from support.programs import KEY, Home
from support.scripted_gateway import Gateway, scripted_gateway

OLDER = """
import kiro_auth
kiro_auth.__version__ = "0.0.9"
from kiro_auth.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [("0.0.9", "0.1.0", True), ("0.1.0", "0.1.0", False), ("0.10.0", "0.9.9", False), ("1.0", "1.0.1", True)],
)
def test_versions_are_compared_by_their_numbers(version: str, than: str, older: bool) -> None:
    assert is_older(version, than) is older


def announced(home: Home) -> dict[str, object]:
    return json.loads((home.state / "gateway.json").read_text())


@pytest.mark.clients
@pytest.mark.early
def test_the_older_one_gives_its_place_at_once_and_finishes_its_answers(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.keep_address()
    home.environment["KIRO_GATEWAY_KEY"] = KEY
    with home.simulator("--auto-approve") as simulator:
        home.run("login", "--builder-id", "--no-browser")
        simulator.script({"steps": [{"text": "One"}, {"pause": 5}, {"text": " two."}]})
        with subprocess.Popen(
            [sys.executable, "-c", OLDER, "serve"], env=home.environment, stdout=subprocess.PIPE, text=True
        ) as old:
            assert old.stdout is not None
            old.stdout.readline()
            before = announced(home)
            answer: list[bytes] = []
            client = threading.Thread(target=lambda: answer.append(ask(f"http://127.0.0.1:{before['port']}")))
            client.start()
            while not simulator.calls():
                time.sleep(0.05)

            with home.started("serve") as new:
                assert new.stdout is not None
                assert "Listening" in new.stdout.readline()
                after = announced(home)
                assert (before["version"], after["pid"]) == ("0.0.9", new.pid)
                assert [after[name] for name in ("port", "key")] == [before[name] for name in ("port", "key")]
                client.join(120)
                assert b"One two." in b"".join(answer)
                assert old.wait(40) == 0
                assert announced(home) == after


def test_an_older_one_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.started("serve") as running:
        assert running.stdout is not None
        running.stdout.readline()
        done = subprocess.run(
            [sys.executable, "-c", OLDER, "serve"],
            env=home.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

        assert "runs already" in done.stdout
        assert announced(home)["pid"] == running.pid


class Older(Gateway):
    """A gateway of an older version, in whose place another new one comes while it is asked to retire."""

    answers = True
    is_followed = True

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if self.is_followed:
            self.announce(key=KEY, pid=2)
        if not self.answers:
            raise ConnectionAbortedError
        return 200, {}


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Older]:
    with scripted_gateway(Home(tmp_path), Older) as older:
        seat = Seat(older.home.state)
        older.announce(key=KEY, version="0.0.9")
        assert seat.take()
        yield older
        seat.leave()


@pytest.mark.parametrize("answers", [True, False])
def test_of_several_new_ones_that_begin_at_once_one_takes_the_place_and_is_not_asked_for_it(
    older: Older, answers: bool
) -> None:
    """As when several windows are opened after an update."""
    older.answers = answers

    done = older.home.run("serve", check=False)

    assert (done.returncode, "runs already" in done.stdout) == (0, True), done.stderr
    assert [path for _, path, _ in older.asked].count("/kiro/retire") == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [(True, "does not give its place (KA-GATEWAY)."), (False, "runs, but it does not answer")],
)
def test_an_older_one_that_does_not_give_its_place_is_named(
    older: Older, answers: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiro_auth.gateway.calls._TAKE_OVER_SECONDS", 0.5)
    monkeypatch.setattr("kiro_auth.gateway.calls.BEGIN_SECONDS", 0.5)
    older.answers, older.is_followed = answers, False

    done = older.home.run("serve", check=False)

    assert (done.returncode, words in " ".join(done.stderr.split())) == (1, True), done.stderr


def ask(url: str) -> bytes:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), {"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return bytes(reply.read())
