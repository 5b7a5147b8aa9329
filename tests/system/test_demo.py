"""`kiro-auth demo`: what a curious person runs first."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest

from support.programs import Home


@pytest.mark.timeout(120)
def test_the_demonstration_shows_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment["PATH"] = "/usr/bin:/bin"  # whatever OpenCode the machine has is not its business

    shown = home.run("demo").stdout

    for said in (
        "Signed in: a***@example.com",
        "Signed in: l***@example.org",
        "Hello",
        "hello.txt holds: Hello from Kiro",
        "served in us-east-1",
        "served in eu-central-1",
        "All of it worked",
    ):
        assert said in shown
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.timeout(120)
def test_with_keep_it_stays_up_until_it_is_interrupted(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.environment["PATH"] = "/usr/bin:/bin"

    with home.started("demo", "--keep") as process:
        assert process.stdout is not None
        curl = next(line for line in process.stdout if "curl " in line)
        url = curl.split()[1].removesuffix("/v1/messages")
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
