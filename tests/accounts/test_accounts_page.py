"""The diagram of docs/accounts.md is that of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from kiro_auth.accounts.health import ENDED_BY, STATE_AFTER, State

PAGE = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text()
ARROWS = re.findall(r"^    ([\w-]+) --> ([\w-]+): (.+)$", PAGE, re.MULTILINE)


def test_every_failure_of_an_account_leads_where_the_diagram_says() -> None:
    drawn = {why: to for start, to, why in ARROWS if start == "ready" and why.startswith("KA-")}

    assert drawn == STATE_AFTER


def test_every_state_is_drawn_and_described_and_has_a_way_back() -> None:
    states = set(get_args(State))

    assert {state for start, to, _ in ARROWS for state in (start, to)} == states
    assert {start for start, to, _ in ARROWS if to == "ready"} == states - {"ready"}
    assert set(re.findall(r"^\| `([\w-]+)` \| (?:yes|no) \|", PAGE, re.MULTILINE)) == states


WORDS = {
    "accounts verify": "verified",
    "login": "signed in",
    "accounts enable": "enabled",
}


def test_every_command_that_the_diagram_draws_ends_the_state_it_starts_at() -> None:
    drawn = [(start, WORDS[why]) for start, to, why in ARROWS if to == "ready" and why in WORDS]

    assert {event for _, event in drawn} == set(WORDS.values())
    assert all(state in ENDED_BY[event] for state, event in drawn)
