"""The gateway that a command starts because it needs one, and what is said when that fails."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.stop_gateway()


def test_why_the_gateway_does_not_start_is_quoted_from_its_log(home: Home) -> None:
    home.environment["KIRO_API_KEY"] = "zzz"

    refused = home.run("env", "claude", check=False)

    log = home.state / "gateway.log"
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: The gateway did not start: KIRO_API_KEY holds no Kiro API key")
    assert f"(see {log})" in refused.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.state.stat().st_mode) == 0o700


def test_what_the_log_said_before_is_kept_and_not_quoted(home: Home) -> None:
    home.state.mkdir(parents=True)
    log = home.state / "gateway.log"
    log.write_text("error: of yesterday\n")
    home.environment["KIRO_API_KEY"] = "zzz"

    refused = home.run("env", "claude", check=False)

    assert "of yesterday" not in refused.stderr
    assert log.read_text().startswith("error: of yesterday\n")


@pytest.mark.parametrize("taken", ["", "gateway.log"], ids=["the folder", "the log"])
def test_a_state_folder_that_cannot_be_used_is_named_with_its_reason(home: Home, taken: str) -> None:
    """A file is where the folder should be, or a folder where the log should be."""
    path = home.state / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    if taken:
        path.mkdir()
    else:
        path.write_text("")

    refused = home.run("env", "claude", check=False)

    reason = (
        "it is a folder (KA-STORE)." if taken else "it is not a folder (KA-STORE). Move away what is there."
    )
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: The gateway did not start: {path} cannot be used: {reason} "
        f"Make {home.state} writable, or set XDG_STATE_HOME to another folder.\n"
    )
