"""What a usage row says: when nothing of a plan is left; and that any answer makes a row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts.usage_row import usage_row, used_up

NOW = 1_800_000_000.0
RESET = 1_800_500_000_000


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({}, None),
        ({"usedCount": 10, "limitCount": 0}, None),
        ({"usedCount": 9, "limitCount": 10}, None),
        ({"usedCount": 10, "limitCount": 10}, "KA-QUOTA"),
        ({"usedCount": 9, "creditsSince": 2, "limitCount": 10}, "KA-QUOTA"),
        ({"usedCount": 10, "limitCount": 10, "overage": {"enabled": False, "used": 3}}, "KA-QUOTA"),
        ({"usedCount": 10, "limitCount": 10, "overage": {"enabled": True, "used": 3, "limit": 5}}, None),
        ({"usedCount": 10, "limitCount": 10, "overage": {"enabled": True, "used": 3}}, None),
        ({"limitCount": 9, "overage": {"enabled": True, "used": 5, "limit": 5}}, "KA-OVERAGE"),
    ],
)  # fmt: skip
def test_a_plan_is_used_up_when_nothing_is_left_of_it_nor_beyond_it(
    row: dict[str, Any], code: str | None
) -> None:
    failure = used_up(row)

    assert (failure and failure.code) == code


def test_a_used_up_plan_says_when_it_starts_anew() -> None:
    failure = used_up({"usedCount": 10, "limitCount": 10, "resetAt": RESET})

    assert failure is not None
    assert failure.until == RESET / 1000
    assert failure.next_step


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
row = st.dictionaries(
    st.sampled_from(["resourceType", "currentUsage", "usageLimit", "freeTrialInfo", "bonuses"]),
    values,
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "usageBreakdownList": values | st.lists(row | values, max_size=3),
        "usageBreakdown": values | row,
        "subscriptionInfo": values,
        "overageConfiguration": values,
        "nextDateReset": st.none() | st.floats(0, 1e13) | st.text(max_size=3),
    },
)


@given(answers)
def test_any_answer_makes_a_row_of_numbers_and_texts(answer: dict[str, Any]) -> None:
    made = usage_row(answer, NOW)

    assert made["lastSync"] == NOW * 1000
    assert all(isinstance(made[name], float) for name in ("usedCount", "limitCount") if name in made)
    assert made["plan"] is None or isinstance(made["plan"], str)
    assert made["resetAt"] is None or isinstance(made["resetAt"], int)
    assert used_up(made) is None or made["limitCount"]


@pytest.mark.parametrize("given", [1.8005e18, 1.8005e15, 1e300, 0, -5, float("inf"), "tomorrow", None, True])
def test_a_reset_that_is_no_time_is_not_known(given: Any) -> None:
    row = usage_row({"nextDateReset": given}, NOW)

    assert row["resetAt"] is None


@pytest.mark.parametrize("given", [RESET, RESET / 1000])
def test_a_reset_is_given_in_seconds_or_milliseconds(given: float) -> None:
    assert usage_row({"nextDateReset": given}, NOW)["resetAt"] == RESET
