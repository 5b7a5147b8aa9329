"""Toasts in OpenCode's real window, looked at through tmux."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("signed_in"), pytest.mark.timeout(240)]

ADA = "ada@example.com"


@pytest.fixture
def tmux() -> str:
    found = shutil.which("tmux")
    if found is None:
        if os.environ.get("CI"):
            raise RuntimeError("tmux is needed; .ci/run installs it")
        pytest.skip("tmux is not installed")
    return found


class Window:
    """OpenCode in a terminal of 140 columns and 45 lines."""

    def __init__(self, tmux: str, opencode: OpenCode) -> None:
        self._tmux = [tmux, "-f", "/dev/null", "-S", str(opencode.home.folder / "tmux.socket")]
        command = opencode.command("-m", "kiro/claude-sonnet-4-5")
        environment = {**opencode.environment, "TERM": "xterm-256color"}
        self._call(
            "new-session", "-d", "-x", "140", "-y", "45", *command, env=environment, cwd=opencode.project
        )

    def _call(self, *arguments: str, **more: object) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=30, **more)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    def shows(self) -> str:
        """The screen, its lines joined by spaces, so that wrapped words are found."""
        lines = self._call("capture-pane", "-p").splitlines()
        return " ".join(" ".join(line.strip("│┃ ") for line in lines).split())

    def wait_for(self, what: str, seconds: float = 60) -> str:
        return self.wait_until(lambda shown: what in shown, seconds)

    def wait_until(self, right: Callable[[str], bool], seconds: float = 60) -> str:
        end = time.monotonic() + seconds
        while not right(shown := self.shows()):
            assert time.monotonic() < end, shown
            time.sleep(0.2)
        return shown

    def say(self, words: str) -> None:
        self._call("send-keys", "-l", words)
        time.sleep(0.5)
        self._call("send-keys", "Enter")

    def close(self) -> None:
        self._call("kill-server")


def opened(tmux: str, opencode: OpenCode) -> Window:
    opencode.run("models")  # the first start of a release takes longer
    window = Window(tmux, opencode)
    window.wait_until(lambda shown: "Claude Sonnet 4.5" in shown)
    return window


@pytest.mark.parametrize("version", VERSIONS)
def test_a_turn_is_followed_by_a_toast_with_what_is_left(
    tmux: str, home: Home, simulator: Simulator, version: str
) -> None:
    simulator.ask("user", {"email": ADA, "used": 850, "limit": 1000})
    window = opened(tmux, OpenCode(version, home))
    try:
        window.say("Say hello.")
        window.wait_for("Hello from the simulated model")
        window.wait_for("150 of 1,000 credits left")
    finally:
        window.close()


def test_with_the_level_none_there_is_no_toast(tmux: str, home: Home, simulator: Simulator) -> None:
    home.environment["KIRO_TOAST_LEVEL"] = "none"
    simulator.ask("user", {"email": ADA, "used": 850, "limit": 1000})
    window = opened(tmux, OpenCode(VERSIONS[0], home))
    try:
        window.say("Say hello.")
        window.wait_for("Hello from the simulated model")
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            assert "credits left" not in window.shows()
            time.sleep(0.3)
    finally:
        window.close()
    assert simulator.calls("GetUsageLimits")  # it was known, and not said
