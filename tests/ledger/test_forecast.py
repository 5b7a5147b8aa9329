"""When a plan is used up at the person's own pace; where too little is known, nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kiro_auth.ledger.forecast import Forecast, Pace, forecast
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.ledger.reading import paces
from kiro_auth.ledger.row import row_of
from kiro_auth.ledger.sqlite import SqliteFile
from kiro_auth.reply_usage import Figure, Usage
from support.turns import turn_ended

NOW, DAY = 1_800_000_000.0, 86400.0
WEEK = Pace(turns=70, credits=35.0, begun=NOW - 7 * DAY)


def test_what_is_left_is_used_up_at_the_pace_of_the_days_before() -> None:
    assert forecast(WEEK, 50, NOW + 30 * DAY, NOW) == Forecast(5.0, NOW + 10 * DAY)


def test_a_plan_that_begins_anew_before_that_has_no_end() -> None:
    assert forecast(WEEK, 50, NOW + 9 * DAY, NOW) == Forecast(5.0, None)


def test_a_plan_without_a_reset_ends_all_the_same() -> None:
    assert forecast(WEEK, 50, None, NOW) == Forecast(5.0, NOW + 10 * DAY)


def test_a_plan_of_which_nothing_is_left_has_ended() -> None:
    assert forecast(WEEK, -3, None, NOW) == Forecast(5.0, NOW)


@pytest.mark.parametrize(
    ("pace", "left"),
    [
        (None, 50.0),
        (WEEK, None),
        (Pace(9, 35.0, NOW - 7 * DAY), 50.0),
        (Pace(70, 35.0, NOW - DAY), 50.0),
        (Pace(70, 0.0, NOW - 7 * DAY), 50.0),
    ],
    ids=["no turns", "no plan", "few turns", "one day", "nothing metered"],
)
def test_too_little_is_no_pace(pace: Pace | None, left: float | None) -> None:
    assert forecast(pace, left, None, NOW) is None


def test_the_pace_is_of_each_account_by_its_id_and_of_the_last_two_weeks(tmp_path: Path) -> None:
    def row(account: str, days: float, metered: float | None):
        usage = Usage(Figure(1, "estimated"), Figure(1, "estimated"), credits=metered)
        return row_of(turn_ended(account, when=NOW - days * DAY, usage=usage))

    file = SqliteFile(tmp_path / "ledger", clock=lambda: NOW)
    file.add([row("a", 20, 9.0), row("a", 10, 1.0), row("a", 1, 0.5), row("a", 1, None), row("b", 3, 2.0)])
    file.close()

    assert paces(LocalLedger(tmp_path / "ledger"), NOW) == {
        "a": Pace(2, 1.5, NOW - 10 * DAY),
        "b": Pace(1, 2.0, NOW - 3 * DAY),
    }
