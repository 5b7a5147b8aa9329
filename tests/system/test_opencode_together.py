"""Many windows of OpenCode, one gateway: started at once, and killed under them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kiro_auth import __version__
from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator
from support.storing import HandStore

pytestmark = [
    pytest.mark.real,
    pytest.mark.clients,
    pytest.mark.usefixtures("signed_in"),
    pytest.mark.timeout(400),
]

WINDOWS = 10
ASK = ("run", "--title", "A title", "-m", "kiro/claude-sonnet-4-5", "Say hello.")


def gateways(home: Home) -> set[int]:
    """The processes that serve this home."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is not ours to look at
            if b"kiro_auth\0serve" in command and f"HOME={home.folder}\0".encode() in environment:
                found.add(int(entry.name))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_ten_windows_at_once_have_one_gateway_and_renew_once(
    home: Home, simulator: Simulator, version: str
) -> None:
    opencode = OpenCode(version, home)
    opencode.run("models")  # the first start of a release makes its database, and ten would wait for it
    store = HandStore(home.config, home.state / "locks")
    store.change_account(home.accounts()[0]["id"], {"expiresAt": 1})
    simulator.ask("advance", {"seconds": 7200})
    before = len(simulator.calls("CreateToken"))

    windows = []
    for number in range(WINDOWS):
        project = home.folder / f"project-{number}"
        project.mkdir()
        windows.append(
            subprocess.Popen(
                opencode.command(*ASK),
                cwd=project,
                env={**opencode.environment, "PWD": str(project)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    codes = [window.wait(240) for window in windows]

    assert codes == [0] * WINDOWS
    assert len(simulator.calls("CreateToken")) - before == 1
    answered = [call for call in simulator.calls() if call["status"] == 200]
    assert len(answered) == WINDOWS
    assert len(opencode.kept()) >= WINDOWS
    assert all("Hello from the simulated model" in shown for shown in opencode.kept())
    announced = json.loads((home.state / "gateway.json").read_text())["pid"]
    assert _gateways_that_stay(home) == {announced}


def _gateways_that_stay(home: Home) -> set[int]:
    """Starters that came too late end by themselves, on a busy machine after the windows even."""
    end = time.monotonic() + 60
    while len(found := gateways(home)) > 1 and time.monotonic() < end:
        time.sleep(0.1)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gateway_that_is_killed_during_a_message_costs_that_message_at_most(
    home: Home, simulator: Simulator, version: str
) -> None:
    opencode = OpenCode(version, home)
    slow = [{"text": "One"}, {"pause": 20}, {"text": " two."}]
    simulator.script({"steps": slow, "when": {"tools": True}})

    def kill_when_it_speaks() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if any(call["status"] == 200 for call in simulator.calls()):
                time.sleep(1)
                os.kill(json.loads((home.state / "gateway.json").read_text())["pid"], 9)
                return
            time.sleep(0.1)

    killer = threading.Thread(target=kill_when_it_speaks)
    killer.start()
    opencode.run(*ASK, seconds=300)
    killer.join(70)

    done = opencode.run(*ASK, seconds=300)

    assert done.returncode == 0
    assert "Hello from the simulated model" in opencode.kept()[-1]
    assert len(simulator.calls()) <= 4  # it may have asked once more by itself


OLDER = "import kiro_auth; kiro_auth.__version__ = '0.0.9'; from kiro_auth.cli.main import main; main()"


def test_after_an_update_the_next_window_has_the_new_program(home: Home, simulator: Simulator) -> None:
    opencode = OpenCode(VERSIONS[0], home)
    with subprocess.Popen(
        [sys.executable, "-c", OLDER, "serve"], env=home.environment, stdout=subprocess.PIPE, text=True
    ) as old:
        assert old.stdout is not None
        old.stdout.readline()

        done = opencode.run(*ASK)

        assert done.returncode == 0
        assert "Hello from the simulated model" in opencode.kept()[-1]
        assert old.wait(30) == 0
    announced = json.loads((home.state / "gateway.json").read_text())
    assert announced["version"] == __version__
    assert _gateways_that_stay(home) == {announced["pid"]}
