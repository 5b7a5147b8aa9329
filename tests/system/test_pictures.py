"""The pictures of README.md: drawn from the real programs, and asking no other machine for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.pictures import drawn

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.real, pytest.mark.clients, pytest.mark.timeout(240)]


def words(picture: str) -> str:
    return " ".join(re.sub(r"<[^>]+>|&#160;", " ", picture).split())


def test_they_show_what_the_programs_show() -> None:
    pictures = drawn()

    assert set(pictures) == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    assert "822.4" in words(pictures["usage.svg"])
    assert "178 of 1,000 credits left" in words(pictures["toast.svg"])


def test_those_of_the_readme_are_there_and_load_nothing() -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text())

    assert len(named) == 2
    for name in named:
        text = (ROOT / name).read_text()
        assert not re.search(r"url\(|href=|@import|<script", re.sub(r"url\(#[\w-]+\)", "", text))
