"""Sums over time for the chart, from a real ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_auth.dashboard.spending import SHOWN, chart, spent, troubles
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.ledger.sqlite import SqliteFile
from support.furnished import fill_ledger, turn

NOW = 1_795_000_000.0  # 2026-11-18 11:06 in UTC


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


def write(path: Path, *rows: object) -> None:
    file = SqliteFile(path, clock=lambda: NOW)
    file.add(rows)  # type: ignore[arg-type]
    file.close()


def test_the_chart_s_sums_are_those_of_the_turns(path: Path) -> None:
    rows = fill_ledger(path, NOW)

    found = chart(LocalLedger(path), "model", "month", NOW)

    within = [row for row in rows if row.when >= NOW - 30 * 86400]
    assert len(found.starts) == 30
    assert found.credits == pytest.approx(sum(row.credits or 0 for row in within), rel=0.05)
    assert found.credits == pytest.approx(sum(sum(series.values) for series in found.series))
    assert [series.credits for series in found.series] == sorted(
        (series.credits for series in found.series), reverse=True
    )


def test_a_day_is_shown_by_hours_and_the_last_is_the_current_one(path: Path) -> None:
    write(
        path,
        turn(NOW - 60, model="m", metered=1.5),
        turn(NOW - 3600 * 3, model="m", metered=2),
        turn(NOW - 86400 * 2, model="m", metered=9),
    )

    found = chart(LocalLedger(path), "model", "day", NOW)

    assert (found.starts[-1], len(found.starts)) == ("2026-11-18T11:00", 24)
    assert (found.series[0].values[-1], found.series[0].values[-4], found.credits) == (1.5, 2, 3.5)


def test_beyond_a_few_the_rest_is_shown_together_and_nothing_is_lost(path: Path) -> None:
    rows = [turn(NOW - 60, model="m", metered=20 - n, project=f"p{n}" if n else None) for n in range(12)]
    write(path, *rows)

    found = chart(LocalLedger(path), "project", "week", NOW)

    assert [series.name for series in found.series] == [
        "no project",
        *(f"p{n}" for n in range(1, 6)),
        "6 others",
    ]
    assert len(found.series) == SHOWN + 1
    assert found.credits == sum(20 - n for n in range(12))
    assert found.turns == 12


def test_today_and_this_month_are_those_of_the_calendar(path: Path) -> None:
    days = (0, 0.4, 1, 17, 18)
    write(path, *(turn(NOW - days_ago * 86400, model="m", metered=1) for days_ago in days))

    found = spent(LocalLedger(path), NOW)

    assert (found.today, found.today_turns) == ("2.00", 2)
    assert (found.month, found.month_turns) == ("4.00", 4)


def test_a_failure_is_told_with_its_meaning_cause_and_next_step(path: Path) -> None:
    write(path, turn(NOW - 60, model="m\x1b[31m", outcome="KA-QUOTA"), turn(NOW, model="m", metered=1))

    [found] = troubles(LocalLedger(path), NOW)

    assert (found.code, found.title) == ("KA-QUOTA", "The account's plan limit is used up.")
    assert found.cause
    assert found.next_step.startswith("Wait for the reset")
    assert "\x1b" not in found.details
    assert "request req_0123456789" in found.details
    assert found.when == "1 min ago"


def test_without_a_ledger_there_is_nothing_to_show(path: Path) -> None:
    for nothing in (None, LocalLedger(path)):
        assert chart(nothing, "client", "week", NOW).series == []
        assert spent(nothing, NOW).today == "0.00"
        assert troubles(nothing, NOW) == []
