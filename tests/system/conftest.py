"""What most tests of the whole program begin with: a home, the simulated services, each OpenCode release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Services, Simulator


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A fresh home; a gateway that is started there ends with the test."""
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.stop_gateway()


@pytest.fixture
def simulator(home: Home, services: Services) -> Simulator:
    """The services that this home's programs ask, as if they had just begun; sign-ins confirm themselves."""
    return services.begin(home, auto_approve=True)


@pytest.fixture
def signed_in(home: Home, simulator: Simulator) -> Home:
    """The home after `install opencode` and a sign-in with Builder ID."""
    home.run("install", "opencode")
    home.run("login", "--builder-id", "--no-browser")
    return home


@pytest.fixture(params=VERSIONS)
def opencode(request: pytest.FixtureRequest, home: Home) -> OpenCode:
    """A release of OpenCode in the home: the newest, and with --releases=all each."""
    return OpenCode(request.param, home)


@pytest.fixture
def served(services: Services, tmp_path: Path) -> tuple[Home, Simulator]:
    """A fresh home, and the simulator as if it had just begun."""
    home = Home(tmp_path)
    return home, services.begin(home, auto_approve=False)
