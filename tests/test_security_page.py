"""docs/security.md names tests that are there, and SECURITY.md no address that is not."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
TABLE = PAGE.split("## Who attacks", 1)[1].split("\n## ", 1)[0]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][1:]
TESTS = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_row_says_what_who_how_and_by_which_test() -> None:
    assert len(ROWS) > 20
    wrong = [row for row in ROWS if len(row) != 5 or not all(row)]
    assert wrong == []
    assert [row for row in ROWS if not TESTS.search(row[4])] == []


@pytest.mark.parametrize(("file", "name"), sorted(set(TESTS.findall(PAGE))), ids=lambda word: word)
def test_the_tests_that_it_names_are_there(file: str, name: str) -> None:
    assert name in defined(file)


@functools.cache
def defined(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("page", ["security.md", "opencode.md"])
def test_that_a_project_can_have_opencode_send_any_file_is_said_where_people_look(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    assert re.search(r"\{file:\w+\}", text)
    assert "opencode.json" in text


def test_a_hole_is_reported_to_no_address_that_is_not_there() -> None:
    policy = (ROOT / "SECURITY.md").read_text()
    assert "@" not in policy
    assert "http" not in policy
    assert "privately" in policy
