"""The files of other projects that the package ships are those that were fetched, with their licence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools import vendored


def test_what_is_shipped_is_what_was_fetched_by_version_and_hash() -> None:
    assert vendored.changed() == []
    assert "MIT License" in (vendored.FOLDER / "uPlot.LICENSE.txt").read_text()


def test_a_file_that_somebody_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "static"
    shutil.copytree(vendored.FOLDER, folder)
    monkeypatch.setattr(vendored, "FOLDER", folder)
    with (folder / "uPlot.iife.min.js").open("a") as file:
        file.write(" ")

    assert vendored.changed() == ["uPlot.iife.min.js"]


@pytest.mark.clients
@pytest.mark.real
def test_fetched_anew_they_are_the_same() -> None:
    archive = vendored.fetched()

    for name, inside in vendored.FILES.items():
        assert (vendored.FOLDER / name).read_bytes() == archive[inside]
