"""`--again`: the few tests that failed last, once more and alone; CI asks for it, people need not.

A test that starts programs and opens connections shares two processors with three others, and one of
thousands may fail by that and by nothing else.  Failing twice, the second time alone, is no bad luck.  Nor is
it when a test fails that reaches nothing outside, or when many do: then none is run again.  What passes now
is named, as it is a fault all the same: of the test, or a rare one of the program.
"""

from __future__ import annotations

import pytest

from support import quick

MOST = 3
"""Tests of one run that may have had bad luck."""
_FAILED, _END = "cache/lastfailed", "again/exit"
_NAMES = pytest.StashKey[list[str]]()


def note_end(config: pytest.Config, exit_code: int) -> None:
    """How a run ended, for the next: what broke off has not shown all that fails."""
    cache: pytest.Cache | None = getattr(config, "cache", None)  # may be switched off
    if cache is not None and not hasattr(config, "workerinput"):
        cache.set(_END, int(exit_code))


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only those that failed last.  Raises UsageError when it was no bad luck."""
    assert config.cache is not None
    if config.cache.get(_END, None) != pytest.ExitCode.TESTS_FAILED:
        raise pytest.UsageError("the last run did not go to its end with failures, so nothing is run again")
    failed = set(config.cache.get(_FAILED, {}))
    chosen = [item for item in items if item.nodeid in failed]
    if len(chosen) < len(failed):
        missing = ", ".join(sorted(failed - {item.nodeid for item in chosen}))
        raise pytest.UsageError(f"no test, so not run again: {missing}")
    if not 0 < len(chosen) <= MOST:
        raise pytest.UsageError(
            f"{len(chosen)} tests failed, so none is run again; it is done for 1 to {MOST}"
        )
    plain = [item.nodeid for item in chosen if not _reaches_outside(item)]
    if plain:
        raise pytest.UsageError(f"reaches nothing outside, so it fails by itself: {', '.join(plain)}")
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    config.stash[_NAMES] = [item.nodeid for item in chosen]


def tell(config: pytest.Config, terminal: pytest.TerminalReporter) -> None:
    """Name those that fail at times."""
    for report in terminal.getreports("passed"):
        if report.when == "call" and report.nodeid in config.stash.get(_NAMES, []):
            terminal.write_line(
                f"UNSTEADY {report.nodeid}: failed before, passed now; look at its failure above"
            )


def fail_what_was_not_seen(session: pytest.Session) -> None:
    """A test that failed and is now skipped has not shown that it had bad luck."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    names = session.config.stash.get(_NAMES, [])
    if names and reporter is not None and session.exitstatus == pytest.ExitCode.OK:
        passed = {report.nodeid for report in reporter.getreports("passed") if report.when == "call"}
        if not passed.issuperset(names):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reaches_outside(item: pytest.Item) -> bool:
    return not quick.is_quick(item.path) or any(map(item.get_closest_marker, ("outside", "real")))
