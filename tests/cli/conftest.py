"""Two accounts, signed in to a simulator that serves a whole module of tests."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pexpect
import pytest

from kiro_auth.accounts.health import READY
from support.programs import Home, Services, Simulator
from support.storing import HandStore

ADA = "ada@example.com"


class Stage:
    """Ada, with 1000 credits, is the first account, Grace the second."""

    def __init__(self, home: Home, simulator: Simulator) -> None:
        self.home = home
        self.simulator = simulator
        self.store = HandStore(home.config, home.state / "locks")
        self.names = [account["name"] for account in home.json("accounts")["accounts"]]
        self.ids = [account["id"] for account in home.accounts()]

    def state(self, name: str) -> str:
        return self.home.json("accounts", "show", name)["state"]

    def terminal(self, *arguments: str, columns: int = 160, **environment: str) -> str:
        """What a person sees; with NO_COLOR unless told otherwise."""
        # The width by both ways: on a busy machine a program may ask before the terminal has its size.
        asked = {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        seen = {**self.home.environment, **asked, **environment}
        seen = {name: value for name, value in seen.items() if value}
        child = self.home.terminal(*arguments, columns=columns, environment=seen)
        child.expect(pexpect.EOF)
        child.close()
        return str(child.before)

    def lines(self, *arguments: str, columns: int) -> list[str]:
        """The same in a terminal that only says so, line by line, without styles."""
        shown = self.home.run(*arguments, columns=columns, check=False).stdout
        return re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Stage:
    home = Home(tmp_path_factory.mktemp("home"))
    simulator = services.begin(home, auto_approve=True)
    home.run("login", "--builder-id", "--no-browser")
    home.run("login", "--builder-id", "--no-browser")
    return Stage(home, simulator)


@pytest.fixture
def in_order(stage: Stage) -> Iterator[Stage]:
    """The same, put back afterwards."""
    yield stage
    stage.simulator.ask("user", {"email": ADA, "suspended": False, "used": 0, "limit": 1000})
    for account in stage.home.accounts():
        stage.store.change_account(account["id"], READY)
