"""Which OpenCode is on the PATH: asked of programs that answer, that do not, and that do so too late."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from kiro_auth.opencode import release
from kiro_auth.opencode.release import KNOWN, Nameless, Release, find_release, generation, standing
from support.opencode import VERSIONS

PAGE = Path(__file__).parents[2] / "docs" / "opencode.md"


def program(folder: Path, script: str) -> dict[str, str]:
    """An environment whose PATH finds a program `opencode` first."""
    path = folder / "opencode"
    path.write_text(script)
    path.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"}


@pytest.mark.parametrize(
    ("printed", "found"),
    [
        pytest.param("1.18.34", Release("1.18.34", (1, 18, 34)), id="1.x"),
        pytest.param("opencode v2.0.4", Release("2.0.4", (2, 0, 4)), id="2.x"),
        pytest.param("  v2.11.0-beta.1\r", Release("2.11.0-beta.1", (2, 11, 0)), id="preview"),
        pytest.param("a warning\n1.14.48", Release("1.14.48", (1, 14, 48)), id="behind-a-warning"),
    ],
)
def test_both_generations_say_their_version_in_their_own_way(tmp_path: Path, printed: str, found: Release):
    environment = program(tmp_path, f"#!/bin/sh\n[ \"$1\" = --version ] && printf '%s\\n' '{printed}'")
    assert find_release(environment) == found


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        pytest.param("#!/bin/sh\nexit 3", "ended with exit code 3", id="fails"),
        pytest.param("#!/bin/sh\necho hello", "printed no version", id="something-else"),
        pytest.param("#!/bin/sh\necho 1.2", "printed no version", id="half-a-version"),
        pytest.param("#!/bin/sh\nprintf '\\377\\000\\n'", "printed no version", id="bytes"),
        pytest.param("#!/bin/sh\nexec yes hello", "ended with exit code", id="without-end"),
        pytest.param("#!/nowhere/python", "cannot be started: it does not exist", id="broken"),
        pytest.param("", "cannot be started: it is no program for this machine", id="empty"),
    ],
)
def test_a_program_that_says_none_is_named_with_the_reason(tmp_path: Path, script: str, reason: str):
    found = find_release(program(tmp_path, script))
    assert isinstance(found, Nameless)
    assert found.program == str(tmp_path / "opencode")
    assert found.reason.startswith(reason)
    assert standing(found).level == "warning"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("#!/bin/sh\nsleep 60", id="slow"),
        pytest.param("#!/bin/sh\nsleep 60 &\nwait", id="a-script-that-starts-the-real-one"),
        pytest.param("#!/bin/sh\nsetsid sleep 30 &\nexit 0", id="one-that-leaves-and-keeps-the-pipe"),
    ],
)
def test_a_slow_program_is_ended_in_time(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(release, "SECONDS", 0.5)
    begin = time.monotonic()
    found = find_release(program(tmp_path, script))
    assert isinstance(found, Nameless)
    assert time.monotonic() - begin < 20, "what it waits for sleeps for half a minute and more"


def test_where_there_is_no_opencode_there_is_no_release(tmp_path: Path):
    assert find_release({"PATH": str(tmp_path)}) is None
    assert generation(None) is None


@pytest.mark.parametrize(
    ("version", "level"),
    [
        *(
            (f"v{version}", "ok")
            for version in ("1.14.48", "1.17.19", "1.18.34", "2.0.4", "2.0.26", "2.10.0")
        ),
        *((f"v{version}", "fault") for version in ("2.0.0", "2.0.3")),
        *(
            (f"v{version}", "warning")
            for version in ("1.14.47", "1.18.33", "1.19.0", "3.0.0", "2.1.0-beta", "0.0.0")
        ),
    ],
)
def test_a_release_is_in_order_if_it_is_known_and_named_in_any_case(version: str, level: str):
    version = version.removeprefix("v")  # with it no row is taken for a run with that release
    number = tuple(map(int, version.split("-")[0].split(".")))
    told = standing(Release(version, (number[0], number[1], number[2])))
    assert told.level == level
    assert f"OpenCode {version}" in told.message
    assert (told.remedy is None) == (level == "ok")


def test_what_is_known_of_2_x_is_not_said_to_have_been_run():
    assert "was not run with it" in standing(Release("2.1.0", (2, 1, 0))).message
    assert "was run with this release" in standing(Release("1.18.34", (1, 18, 34))).message


def test_the_releases_that_tests_run_are_those_that_were_run():
    assert set(VERSIONS) <= {first for first, last, grade in KNOWN if grade == "run" and first == last}


def test_the_page_says_of_each_release_what_is_known():
    words = {"run": "run with", "source": "source", "refuses": "does nothing there"}
    rows = dict(re.findall(r"^\| (\d[\d.]+[^|]*) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE))
    labels = {
        first if first == last else f"{first} to {last}" if "." in last else f"{first} and newer": grade
        for first, last, grade in KNOWN
    }
    assert list(rows) == list(labels)
    assert all(words[grade] in rows[label] for label, grade in labels.items())
