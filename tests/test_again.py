"""Only a few tests that reach outside are run again when they failed; others have failed for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CONFTEST = """
from support import again

def pytest_addoption(parser):
    parser.addoption("--again", action="store_true")

def pytest_collection_modifyitems(config, items):
    if config.getoption("--again"):
        again.choose(config, items)

def pytest_sessionfinish(session, exitstatus):
    again.note_end(session.config, exitstatus)
    again.fail_what_was_not_seen(session)

def pytest_terminal_summary(terminalreporter, config):
    again.tell(config, terminalreporter)
"""
SETTINGS = "[pytest]\nmarkers =\n    outside\n"
UNLUCKY = """
@pytest.mark.outside
def test_{name}():
    path = pathlib.Path(__file__).with_name("ran-{name}")
    had_run = path.exists()
    path.touch()
    assert had_run
"""
STEADY = "\n@pytest.mark.outside\ndef test_steady():\n    pass\n"
FAULTY = "\n@pytest.mark.outside\ndef test_faulty():\n    assert False\n"
PLAIN = "\ndef test_plain():\n    assert False\n"

pytestmark = [pytest.mark.outside, pytest.mark.clients]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


def run_twice(folder: Path, *tests: str) -> tuple[int, str]:
    """The exit code and the output of the second time."""
    (folder / "test_some.py").write_text("import pathlib\nimport pytest\n" + "".join(tests))
    code, output = run(folder)
    assert code == 1, output
    return run(folder, "--again")


def test_a_test_that_had_bad_luck_is_run_again_alone_and_named(folder: Path) -> None:
    code, output = run_twice(folder, STEADY, UNLUCKY.format(name="unlucky"))

    assert code == 0, output
    assert "1 passed, 1 deselected" in output
    assert "UNSTEADY test_some.py::test_unlucky" in output


def test_failing_twice_is_a_failure(folder: Path) -> None:
    code, output = run_twice(folder, UNLUCKY.format(name="unlucky"), FAULTY)

    assert code == 1
    assert "1 failed, 1 passed" in output


def test_a_test_that_reaches_nothing_outside_is_not_run_again_nor_are_those_beside_it(folder: Path) -> None:
    code, output = run_twice(folder, UNLUCKY.format(name="unlucky"), PLAIN)

    assert code not in (0, 1)
    assert "fails by itself: test_some.py::test_plain" in output


def test_where_many_fail_none_is_run_again(folder: Path) -> None:
    code, output = run_twice(folder, *(UNLUCKY.format(name=f"unlucky_{n}") for n in range(4)))

    assert code not in (0, 1)
    assert "4 tests failed" in output


def test_skipped_the_second_time_is_a_failure(folder: Path) -> None:
    skips = """
@pytest.mark.outside
def test_skips():
    path = pathlib.Path(__file__).with_name("ran")
    had_run = path.exists()
    path.touch()
    if had_run:
        pytest.skip("now")
    assert False
"""
    code, output = run_twice(folder, skips)

    assert code == 1, output
    assert "1 skipped" in output


def test_after_a_run_that_broke_off_none_is_run_again(folder: Path) -> None:
    ends = "\n@pytest.mark.outside\ndef test_z_ends():\n    pytest.exit('broken off', returncode=3)\n"
    (folder / "test_some.py").write_text(
        "import pathlib\nimport pytest\n" + UNLUCKY.format(name="unlucky") + ends + PLAIN
    )
    assert run(folder)[0] == 3

    code, output = run(folder, "--again")

    assert code not in (0, 1)
    assert "did not go to its end" in output


def test_what_cannot_be_collected_is_not_passed_over(folder: Path) -> None:
    (folder / "test_broken.py").write_text("import nothing_of_that_name\n")
    run(folder)
    (folder / "test_some.py").write_text(STEADY.replace("\n@", "import pytest\n@", 1))

    code, output = run(folder, "--again")

    assert code not in (0, 1), output
