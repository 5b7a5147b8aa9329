"""What most tests of the whole program begin with: a home, the simulated services, each OpenCode release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.opencode import VERSIONS, OpenCode
from support.programs import Home, Simulator

Services = tuple[Simulator, dict[str, str]]
"""A simulator that serves several homes, and what their programs must be told of it."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A fresh home; a gateway that is started there ends with the test."""
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.stop_gateway()


@pytest.fixture
def simulator(home: Home) -> Iterator[Simulator]:
    """The services that this home's programs ask."""
    with home.simulator("--auto-approve") as simulator:
        yield simulator


@pytest.fixture
def signed_in(home: Home, simulator: Simulator) -> Home:
    """The home after `install opencode` and a sign-in with Builder ID."""
    home.run("install", "opencode")
    home.run("login", "--builder-id", "--no-browser")
    return home


@pytest.fixture(params=VERSIONS)
def opencode(request: pytest.FixtureRequest, home: Home) -> OpenCode:
    """Each release of OpenCode, in the home."""
    return OpenCode(request.param, home)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One simulator for all homes of a module, which `served` sets back."""
    home = Home(tmp_path_factory.mktemp("services"))
    before = dict(home.environment)
    with home.simulator() as simulator:
        yield simulator, {k: v for k, v in home.environment.items() if before.get(k) != v}


@pytest.fixture
def served(services: Services, tmp_path: Path) -> tuple[Home, Simulator]:
    """A fresh home with the module's simulator, as if that had just begun."""
    simulator, environment = services
    simulator.ask("reset", {})
    home = Home(tmp_path)
    home.environment |= environment
    return home, simulator
