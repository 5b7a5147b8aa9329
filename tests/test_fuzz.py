"""Each fuzz target for a moment; `make fuzz` gives it longer."""

from __future__ import annotations

import pytest
from fuzz.__main__ import TARGETS, fuzz

INPUTS = 150


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_what_the_target_s_first_line_says(name: str) -> None:
    assert fuzz(name, seconds=0, at_a_time=INPUTS) >= 50
