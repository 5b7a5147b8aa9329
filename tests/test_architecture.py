"""The table of rooms in docs/architecture.md is the tree of the package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kiro_auth"
TABLE = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms", 1)[1].split("\n## ", 1)[0]
ROWS = re.findall(r"^\| `([^`]+)` \|", TABLE, re.MULTILINE)
ENTRY = "__main__.py"
"""How Python starts the package: it holds nothing."""
TABLES = {"failures.py"}
"""Modules that are a list of things; each thing is small, however many there are."""
LONGEST_MODULE = 350
LONGEST_FUNCTION = 50
DEEPEST = 4
"""How many blocks may stand within each other in a function."""


def rooms() -> set[str]:
    modules = {path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py"}
    # Python's own folders stay behind where a room was, so a folder counts by what is written in it.
    written = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".js"))
    folders = {path.parent for path in written} - {PACKAGE}
    return modules - {ENTRY} | {f"{path.relative_to(PACKAGE).as_posix()}/" for path in folders}


def test_every_folder_and_every_module_at_the_top_has_one_row() -> None:
    assert sorted(ROWS) == sorted(rooms())


def test_every_module_in_a_row_of_a_folder_is_there() -> None:
    """The words in code style of a folder's row are its modules."""
    gone = {
        room: missing
        for room, holds in re.findall(r"^\| `([^`]+)/` \| (.*?) \|", TABLE, re.MULTILINE)
        if (missing := [word for word in re.findall(r"`([a-z_0-9]+)`", holds) if not _is_module(room, word)])
    }

    assert gone == {}


def test_the_files_that_mark_folders_are_empty() -> None:
    for mark in PACKAGE.rglob("*/__init__.py"):
        assert mark.read_text() == "", mark


def test_what_asks_the_service_is_wired_in_one_place() -> None:
    wiring = re.compile(r"(?<!def )\b(Lines|renewal|Pool)\(")
    modules = (path for path in PACKAGE.rglob("*.py") if wiring.search(path.read_text()))

    assert [path.relative_to(PACKAGE).as_posix() for path in modules] == ["gateway/parts.py"]


@pytest.mark.slow
def test_modules_and_functions_are_small() -> None:
    large = [
        f"{path.relative_to(PACKAGE)}: {lines} lines"
        for path in PACKAGE.rglob("*.py")
        if path.name not in TABLES and (lines := len(path.read_text().splitlines())) > LONGEST_MODULE
    ]
    for path in PACKAGE.rglob("*.py"):
        for function in _functions(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            name = f"{path.relative_to(PACKAGE)}: {function.name}"
            large += [f"{name} has {lines} lines"] if lines > LONGEST_FUNCTION else []
            large += [f"{name} is {deep} deep"] if (deep := _depth(function)) > DEEPEST else []

    assert large == []


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def _depth(node: ast.AST) -> int:
    blocks = (
        ast.For,
        ast.AsyncFor,
        ast.While,
        ast.If,
        ast.With,
        ast.AsyncWith,
        ast.Try,
        ast.TryStar,
        ast.Match,
    )
    deepest = 0
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)  # elif
        deepest = max(deepest, _depth(child) + (isinstance(child, blocks) and not chained))
    return deepest


def _is_module(room: str, word: str) -> bool:
    return (PACKAGE / room / f"{word}.py").exists()


@pytest.mark.slow
def test_what_is_logged_is_a_fixed_text_with_the_rest_put_in() -> None:
    """A report shows these texts and nothing that was put in, so they hold nothing that is a person's."""
    made = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path in PACKAGE.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
        and call.func.attr in ("debug", "info", "warning", "error", "exception")
        and not isinstance(call.args[0], ast.Constant)
    ]

    assert made == []
