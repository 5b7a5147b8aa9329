"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from support import programs
from support.opencode import VERSIONS
from support.programs import Home, Services

# On a busy machine making an example may take a second, which says nothing about the program.  In CI the
# examples are the same in every run, so that a failure is one of the change and not of the day.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One simulated AWS for all tests of this process, one test or module after the other."""
    with programs.services(Home(tmp_path_factory.mktemp("services"))) as services:
        yield services


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--releases",
        choices=("newest", "all"),
        default="newest",
        help="with which releases of OpenCode tests run that know several; "
        "all of them run in test_older_releases.py always",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--releases") == "all":
        return
    older = [item for item in items if not item.get_closest_marker("older_releases") and _is_of_older(item)]
    config.hook.pytest_deselected(items=older)
    items[:] = [item for item in items if item not in older]


def _is_of_older(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return parameters is not None and any(
        isinstance(value, str) and value in VERSIONS[1:] for value in parameters.params.values()
    )
