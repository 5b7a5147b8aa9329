"""A newer version takes the place of an older one, and cuts no answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from kiro_auth.gateway.discovery import is_older
from support.programs import KEY, Home

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
                client.join(30)
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


def ask(url: str) -> bytes:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), {"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=40) as reply:
        return bytes(reply.read())
