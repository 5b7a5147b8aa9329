"""A plan that is used up and begins anew while a client waits: the real program, whose pauses are real.

Only the calendar is set, to some seconds before the service's month ends; see tests/gateway for hours.
"""

from __future__ import annotations

import calendar
import json
import os
import subprocess
import threading
import time
from typing import Final

import pytest

from support.codex import CODEX
from support.npm import npm_package
from support.opencode import OFFLINE
from support.programs import KIRO_AUTH, Home, Simulator
from support.virtual import APIS, VirtualTime, body_for
from system.test_clients import CLAUDE_CODE

BEFORE: Final = 20.0
"""Seconds from the first request to the end of the month."""
LEAD: Final = 40.0
"""The same, where a whole client has to start before it."""


@pytest.mark.timeout(120)
@pytest.mark.clients
def test_a_job_waits_for_the_reset_that_the_service_named_and_goes_on(
    home: Home, simulator: Simulator
) -> None:
    home.run("login", "--builder-id", "--no-browser")
    write_option(home)
    email = home.accounts()[0]["email"]
    simulator.ask("user", {"email": email, "used": 1000, "limit": 1000})
    with VirtualTime(home, simulator, reset_of(simulator) - 3600) as gateway:
        begun = time.monotonic()
        gateway.advance(reset_of(simulator) - BEFORE - gateway.now)

        answers: dict[str, tuple[int, dict[str, str], str]] = {}

        def ask(path: str) -> None:
            answers[path] = gateway.ask(path, body_for(path, "Say hello.", stream=True))

        threads = [threading.Thread(target=ask, args=(path,)) for path in APIS]
        for thread in threads:
            thread.start()
        told = []
        while len(told) < len(APIS) and time.monotonic() - begun < BEFORE:
            told = json.loads(gateway.ask("/kiro/waiting")[2])["waiting"]
            time.sleep(0.1)
        shown = home.run("status").stdout
        for thread in threads:
            thread.join()
        assert home.json("status")["waiting"] == []

    assert shown.count("A request waits for the reset of a***@example.com, ") == len(APIS)
    assert [each["account"][0] for each in told] == [email[0]] * len(APIS)
    assert time.monotonic() - begun >= BEFORE
    for status, headers, text in answers.values():
        assert status == 200
        assert headers["content-type"].startswith("text/event-stream")
        assert text.startswith(": Kiro's plans are used up; waiting until ")
        assert "Hello" in text
    log = (home.state / "gateway.log").read_text()
    assert log.count("a request waits for the reset of") == len(APIS)


def write_option(home: Home) -> None:
    """An hour at most."""
    home.config.mkdir(parents=True, exist_ok=True)
    (home.config / "kiro.json").write_text(json.dumps({"wait_for_reset": 1}))


def now_of(simulator: Simulator) -> float:
    """What time it is for the service."""
    return float(simulator.ask("advance", {"seconds": 0})["time"])


def reset_of(simulator: Simulator) -> float:
    """When the month ends, as the service counts it."""
    now = time.gmtime(now_of(simulator))
    year, month = now.tm_year + now.tm_mon // 12, now.tm_mon % 12 + 1
    return float(calendar.timegm((year, month, 1, 0, 0, 0)))


@pytest.mark.real
@pytest.mark.clients
@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", ["codex", "claude"])
def test_a_real_client_waits_with_the_gateway_as_users_start_it(
    home: Home, simulator: Simulator, client: str
) -> None:
    """Only the service's calendar is set: the gateway goes by the services' clock."""
    home.run("login", "--builder-id", "--no-browser")
    write_option(home)
    link(home, client)
    simulator.ask("user", {"email": home.accounts()[0]["email"], "used": 1000, "limit": 1000})
    simulator.ask("advance", {"seconds": reset_of(simulator) - LEAD - now_of(simulator)})
    words = {
        "codex": ("codex", "exec", "--skip-git-repo-check", "Say hello."),
        "claude": ("claude", "-p", "Say hello."),
    }

    done = subprocess.run(
        [*KIRO_AUTH, "run", *words[client]],
        cwd=home.folder / "project",
        env=home.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello from the simulated model" in done.stdout
    assert "a request waits for the reset of" in (home.state / "gateway.log").read_text()


def link(home: Home, client: str) -> None:
    """Put the client on the home's PATH."""
    binaries = {
        "codex": npm_package("@openai/codex", CODEX).parent
        / "codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex",
        "claude": npm_package("@anthropic-ai/claude-code-linux-x64", CLAUDE_CODE) / "claude",
    }
    for folder in ("bin", "project"):
        (home.folder / folder).mkdir(exist_ok=True)
    (home.folder / "bin" / client).symlink_to(binaries[client])
    home.environment["PATH"] = f"{home.folder / 'bin'}{os.pathsep}{home.environment['PATH']}"
    home.environment |= {**OFFLINE, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
