"""The table of rooms in docs/architecture.md is the tree of the package."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "kiro_auth"
TABLE = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms", 1)[1].split("\n## ", 1)[0]
ROWS = re.findall(r"^\| `([^`]+)` \|", TABLE, re.MULTILINE)
ENTRY = "__main__.py"
"""How Python starts the package: it holds nothing."""


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
    wiring = re.compile(r"(?<!def )\b(open_session|renewal|Pool)\(")
    modules = (path for path in PACKAGE.rglob("*.py") if wiring.search(path.read_text()))

    assert [path.relative_to(PACKAGE).as_posix() for path in modules] == ["gateway/parts.py"]


def _is_module(room: str, word: str) -> bool:
    return (PACKAGE / room / f"{word}.py").exists()
