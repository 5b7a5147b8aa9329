"""A sign of life after a second, for people only, gone before anything else is said."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from support.programs import Home

SIGN = "Asking Kiro what is used ("


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Home]:
    """A home whose Kiro takes connections and never answers: it is closed after a while."""
    home = Home(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        home.environment["KIRO_ENDPOINT_MANAGEMENT"] = f"http://127.0.0.1:{server.getsockname()[1]}"
        home.environment["KIRO_API_KEY"] = "ksk_some"
        yield home


def test_after_a_silent_second_a_terminal_says_what_is_waited_for(silent: Home) -> None:
    del silent.environment["CI"]
    child = silent.terminal("usage", columns=80, environment={**silent.environment, "TERM": "xterm"})
    child.expect_exact(SIGN)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()

    assert str(child.before).endswith("\r\x1b[K")  # the line is empty again
    assert child.exitstatus == 130


@pytest.mark.parametrize("name", ["CI", pytest.param("TERM", marks=pytest.mark.clients)])
def test_ci_and_terminals_that_cannot_move_back_are_shown_nothing(silent: Home, name: str) -> None:
    del silent.environment["CI"]
    set_ = {"CI": "true"} if name == "CI" else {"TERM": "dumb"}
    child = silent.terminal("usage", environment={**silent.environment, "TERM": "xterm", **set_})
    with pytest.raises(pexpect.TIMEOUT):
        child.expect_exact(SIGN, timeout=3)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()


def test_a_pipe_is_shown_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    del home.environment["CI"]

    assert home.process("usage").stderr == ""
