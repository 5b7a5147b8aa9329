"""What is installed along: each with its reason in docs/dependencies.md, and for developers by hash."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
EXTRAS = [
    Requirement(line)
    for lines in PROJECT["project"].get("optional-dependencies", {}).values()
    for line in lines
]
DEVELOPERS = [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]]
LOCK = (ROOT / "tools" / "developers.txt").read_text()
LOCKED = re.findall(r"^([\w.-]+)==([^ ;\\]+)(.*?)(?=^\S|\Z)", LOCK, re.MULTILINE | re.DOTALL)


def rows(title: str) -> list[list[str]]:
    """The table behind a title."""
    part = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [line for line in lines if line[0] != "Package"]


@pytest.mark.parametrize(
    ("title", "requirements"),
    [("What the program needs", [*NEEDED, *EXTRAS]), ("What developers need besides", DEVELOPERS)],
)
def test_each_dependency_has_its_reason(title: str, requirements: list[Requirement]) -> None:
    table = rows(title)
    assert [row[0] for row in table if len(row) != 5 or not all(row)] == []
    assert sorted(row[0] for row in table) == sorted({one.name for one in requirements})


@pytest.mark.parametrize(
    "row", rows("What the program needs") + rows("What developers need besides"), ids=lambda row: row[0]
)
def test_its_licence_is_the_one_that_it_names_itself(row: list[str]) -> None:
    try:
        said = metadata.metadata(row[0])
    except metadata.PackageNotFoundError:
        pytest.skip("it is not for this Python or system")
    texts = [said.get("License-Expression") or said.get("License") or "", *said.get_all("Classifier", [])]
    named = " ".join(text for text in texts if "::" not in text or text.startswith("License"))
    assert re.split(r"[- ]", row[3])[0] in named


def test_the_least_releases_are_those_that_the_page_says() -> None:
    part = PAGE.split("\n## Which releases\n", 1)[1].split("\n## ", 1)[0]
    said = dict(re.findall(r"^\| ([\w.-]+) \| ([\d.]+) \|", part, re.MULTILINE))
    bounds = {one.name: str(one.specifier).removeprefix(">=") for one in NEEDED}

    assert said == {name: bounds[name] for name in said}


def test_nothing_the_program_needs_has_an_upper_bound() -> None:
    """As the page says; one that is needed is named there with what was seen to break."""
    assert [str(one) for one in NEEDED if any(part.operator != ">=" for part in one.specifier)] == []


def test_the_lock_fits_the_project_and_knows_each_file() -> None:
    """Where it does not: make lock."""
    releases: dict[str, list[str]] = {}
    for name, version, rest in LOCKED:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), name
        releases.setdefault(canonicalize_name(name), []).append(version)
    for requirement in [*NEEDED, *DEVELOPERS]:
        versions = releases.get(canonicalize_name(requirement.name), [])
        assert versions, f"make lock: {requirement.name} is not in it"
        assert all(version in requirement.specifier for version in versions), f"make lock: {requirement}"


def test_the_lock_names_no_place_to_get_files_from() -> None:
    assert re.search(r"https?://|--index|--find-links|@ ", LOCK) is None
