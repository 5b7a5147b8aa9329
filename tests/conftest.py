"""What holds for all tests."""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import again, compiling, programs, quick
from support.opencode import VERSIONS
from support.postgres import Cluster, cluster
from support.programs import Home, Services

FOLDER = Path(__file__).parent
LONGEST = 120.0
"""Seconds of a test that may not run into the next day."""

gc.disable()  # until all tests are collected: of what is imported nothing becomes garbage
# On a busy machine making an example may take a second, which says nothing about the program.  In CI the
# examples are the same in every run, so that a failure is one of the change and not of the day.
settings.register_profile(
    "full",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=100,
    derandomize=bool(os.environ.get("CI")),
)
settings.register_profile("usual", settings.get_profile("full"), max_examples=10)
settings.register_profile("quick", settings.get_profile("full"), max_examples=5)
settings.load_profile("usual")


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One simulated AWS for all tests of this process, one test or module after the other."""
    with programs.services(Home(tmp_path_factory.mktemp("services"))) as services:
        yield services


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One server of databases for the tests of this process; each makes a database of its own."""
    with cluster() as server:
        yield server


@pytest.fixture
def one_day() -> None:
    """No day ends while the test runs, here or in UTC: what was spent today would be nothing then.

    Nor does a month.
    """
    for zone in (None, UTC):
        now = datetime.now(zone)
        left = (datetime.combine(now + timedelta(days=1), clock.min, zone) - now).total_seconds()
        if left < LONGEST:
            time.sleep(left + 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only tests without processes and sockets")
    parser.addoption("--again", action="store_true", help="the few that failed last, if it may be bad luck")
    parser.addoption(
        "--releases",
        choices=("newest", "few", "all"),
        default="newest",
        help="with which releases of OpenCode tests run that know several: the newest; older ones too, in "
        "the few tests that are marked older_releases; or all of them everywhere",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--quick"):
        settings.load_profile("quick")
    if config.getini("testpaths") == config.args:
        tests = [path for path in FOLDER.rglob("test_*.py") if not pytest_ignore_collect(path, config)]
        program = (FOLDER.parent / "src").rglob("*.py")
        compiling.compile_share(config, tests, [*program, *FOLDER.joinpath("support").glob("*.py")])


@pytest.fixture(scope="session")
def forbidding() -> quick.Forbidding:
    return quick.Forbidding()


@pytest.fixture(autouse=True)
def reaching_nothing_outside(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --quick each test shows that it starts no process and opens no connection."""
    if not request.config.getoption("--quick"):
        yield
        return
    with request.getfixturevalue("forbidding"):
        yield


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.getoption("--quick") and collection_path.name.startswith("test_"):
        return None if quick.is_quick(collection_path) else True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out: set[pytest.Item] = set()
    match config.getoption("--releases"):
        case "newest":
            left_out |= {item for item in items if _is_of_older(item)}
        case "few":
            left_out |= {i for i in items if _is_of_older(i) and not i.get_closest_marker("older_releases")}
    if config.getoption("--quick"):
        left_out |= {item for item in items if any(map(item.get_closest_marker, ("real", "outside", "slow")))}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]
    if config.getoption("--again"):
        again.choose(config, items)
    if os.environ.get("CI"):
        _give_more_time(items, float(config.getini("timeout")))
    items[:] = _early_ones_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    again.note_end(session.config, exitstatus)
    again.fail_what_was_not_seen(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    again.tell(config, terminalreporter)


def pytest_collection_finish() -> None:
    """What was imported stays, so the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _give_more_time(items: list[pytest.Item], usual: float) -> None:
    """A limit of time ends what hangs; a machine of CI may be so busy that nothing does."""
    for item in items:
        marker = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(4 * (marker.args[0] if marker else usual)), append=False)


def _early_ones_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Each worker begins with some of the marked ones: pytest-xdist gives out equal parts of the list."""
    early = [item for item in items if item.get_closest_marker("early")]
    others = iter([item for item in items if not item.get_closest_marker("early")])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += early[worker::workers]
        end = len(items) * (worker + 1) // workers
        ordered += itertools.islice(others, max(0, end - len(ordered)))
    return ordered


def _is_of_older(item: pytest.Item) -> bool:
    """Whether it runs with a release before the newest."""
    parameters = getattr(item, "callspec", None)
    if parameters is None:
        return False
    return any(isinstance(value, str) and value in VERSIONS[1:] for value in parameters.params.values())
