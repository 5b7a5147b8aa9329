"""What people hear of without asking, and how seldom."""

from __future__ import annotations

from typing import Any

import pytest

from kiro_auth.accounts.account import Account
from kiro_auth.events import TurnEnded
from kiro_auth.failures import Failure
from kiro_auth.gateway.notices import FRESH_SECONDS, QUIET_SECONDS, Notices
from kiro_auth.times import when
from support.turns import turn_ended

NOW = 1_800_000_000.0
ADA = Account(id="a", label="Ada's")
QUOTA = Failure(code="KA-QUOTA", message="The plan is used up.", account="Ada's")
CUT = Failure(code="KA-CUT", message="Cut.")
FULL = Failure(code="KA-CAPACITY", message="Full.", account="Ada's")
SWITCHED = turn_ended("g", name="Grace's", attempts=(QUOTA,))


class Stage:
    def __init__(self, level: str = "all") -> None:
        self.now = NOW
        self.notices = Notices(level, clock=lambda: self.now, monotonic=lambda: self.now)
        self._last = 0

    def use(self, used: float, limit: float = 1000, **row: Any) -> list[tuple[str, str]]:
        self.notices.on_usage_read(ADA, {"usedCount": used, "limitCount": limit, **row})
        return self.new()

    def new(self) -> list[tuple[str, str]]:
        self._last, found = self.notices.since(self._last)
        return [(notice.variant, notice.message) for notice in found]


def test_figures_are_told_now_and_then_and_a_warning_at_each_mark() -> None:
    stage = Stage()

    assert stage.use(100) == [("info", "Ada's: 900 of 1,000 credits left.")]
    assert stage.use(110) == []
    assert stage.use(800) == [("warning", "Ada's: 200 of 1,000 credits left.")]
    assert stage.use(801) == []
    assert stage.use(950) == [("warning", "Ada's: 50 of 1,000 credits left.")]
    stage.now += QUIET_SECONDS["info"]
    assert len(stage.use(120)) == 1


def test_an_option_that_cannot_be_used_is_told_once() -> None:
    stage = Stage()
    problem = Failure(code="KA-CONFIG", message="toast_level is loud.", next_step="Correct it.")
    for _ in range(2):
        stage.notices.problem(problem)

    assert stage.new() == [("warning", "toast_level is loud (KA-CONFIG). Correct it.")]


def test_what_was_metered_since_counts() -> None:
    assert Stage().use(700, creditsSince=100) == [("warning", "Ada's: 200 of 1,000 credits left.")]


def test_a_warning_says_until_when_it_lasts_unless_the_plan_begins_anew_before() -> None:
    stage = Stage()
    stage.use(700)
    stage.now += 3600
    [(_, message)] = stage.use(850)
    until = when(stage.now + 3600, stage.now)
    assert message == f"Ada's: 150 of 1,000 credits left. At this pace they are used up {until}."

    stage = Stage()
    stage.use(700)
    stage.now += 3600
    [(_, message)] = stage.use(850, resetAt=(NOW + 5000) * 1000)
    assert message == "Ada's: 150 of 1,000 credits left."


def test_a_change_of_account_is_told_with_its_reason_once_in_a_while() -> None:
    stage = Stage()
    for _ in range(3):
        stage.notices.on_turn_ended(SWITCHED)

    assert stage.new() == [("warning", "Grace's takes over. Ada's: The plan is used up (KA-QUOTA).")]
    stage.now += QUIET_SECONDS["warning"]
    stage.notices.on_turn_ended(SWITCHED)
    assert len(stage.new()) == 1


@pytest.mark.parametrize(
    "turn",
    [
        turn_ended("g", name="Grace's"),
        turn_ended("g", name="Ada's", attempts=(QUOTA,)),
        turn_ended("g", name="Grace's", attempts=(QUOTA, CUT)),
        turn_ended(None, attempts=(QUOTA,)),
        turn_ended("g", name="Grace's", attempts=(FULL,)),
    ],
    ids=["no attempt", "the same account", "a cut", "nobody answered", "not the account's"],
)
def test_an_answer_that_no_other_account_s_failure_led_to_is_no_change(turn: TurnEnded) -> None:
    stage = Stage()
    stage.notices.on_turn_ended(turn)

    assert stage.new() == []


@pytest.mark.parametrize(
    ("level", "variants"), [("all", {"info", "warning"}), ("warnings", {"warning"}), ("none", set())]
)
def test_the_level_decides_what_is_said(level: str, variants: set[str]) -> None:
    stage = Stage(level)
    stage.notices.on_turn_ended(SWITCHED)

    assert {variant for variant, _ in stage.use(10)} == variants


def test_each_window_gets_each_notice_once_and_no_old_ones() -> None:
    stage = Stage()
    stage.notices.on_turn_ended(SWITCHED)
    first, second = stage.notices.since(0), stage.notices.since(0)

    assert [len(found) for _, found in (first, second)] == [1, 1]
    assert stage.notices.since(first[0])[1] == []
    stage.now += FRESH_SECONDS + 1
    assert stage.notices.since(0) == (1, [])


def test_an_account_without_a_limit_is_not_talked_about() -> None:
    assert Stage().use(5, limit=0) == []


def test_what_each_turn_used_is_told_each_time_where_people_want_it() -> None:
    stage = Stage()
    stage.notices.on_credits_used("req_1", 0.123, 1.4)
    stage.notices.on_credits_used("req_2", 0.1, None)

    assert stage.new() == [
        ("info", "This turn used 0.12 credits, this conversation 1.40."),
        ("info", "This turn used 0.10 credits."),
    ]
