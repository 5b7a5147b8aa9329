"""Each fuzz target for a moment, after the inputs that are kept in the tree; `make fuzz` gives it longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import corpus
from fuzz.__main__ import TARGETS, fuzz, replay

from support.examples import examples

INPUTS = examples(400)
"""Of each target; too few for `make fuzz`, which looks for those that break it."""
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_of_the_corpus_breaks_what_the_target_s_first_line_says(name: str) -> None:
    assert replay(name) > 0


@pytest.mark.hypothesis  # all of them in `make examples`
@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_what_the_target_s_first_line_says(name: str) -> None:
    assert fuzz(name, seconds=0, at_a_time=INPUTS) >= INPUTS // 2


def test_each_target_has_a_corpus_that_is_small() -> None:
    assert {path.stem for path in corpus.FOLDER.glob("*")} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.FOLDER.glob("*")) < 300_000


def test_every_module_of_the_folder_is_a_target_or_helps_them() -> None:
    helping = {"__init__", "__main__", "corpus", "mutation"}
    assert {path.stem for path in (ROOT / "fuzz").glob("*.py")} == {*TARGETS, *helping}
