"""Toasts in OpenCode's real window, looked at through tmux."""

from __future__ import annotations

import time

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator
from support.window import opened

pytestmark = [
    pytest.mark.real,
    pytest.mark.clients,
    pytest.mark.usefixtures("signed_in"),
    pytest.mark.timeout(240),
]

ADA = "ada@example.com"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_turn_is_followed_by_a_toast_with_what_is_left(
    home: Home, simulator: Simulator, version: str
) -> None:
    simulator.ask("user", {"email": ADA, "used": 850, "limit": 1000})
    with opened(OpenCode(version, home)) as window:
        window.say("Say hello.")
        window.wait_for("Hello from the simulated model")
        window.wait_for("150 of 1,000 credits left")


def test_with_the_level_none_there_is_no_toast(home: Home, simulator: Simulator) -> None:
    home.environment["KIRO_TOAST_LEVEL"] = "none"
    simulator.ask("user", {"email": ADA, "used": 850, "limit": 1000})
    with opened(OpenCode(VERSIONS[0], home)) as window:
        window.say("Say hello.")
        window.wait_for("Hello from the simulated model")
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            assert "credits left" not in window.shows()
            time.sleep(0.3)
    assert simulator.calls("GetUsageLimits")  # it was known, and not said
