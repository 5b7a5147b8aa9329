"""Sums and series of the ledger, against sums that are made row by row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from msgspec.structs import replace

from kiro_auth.events import Failed, Left
from kiro_auth.failures import Failure, StoreFailed
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.ledger.protocol import Ledger
from kiro_auth.ledger.reading import By, Point, Total, recent_failures, series, totals
from kiro_auth.ledger.row import row_of
from kiro_auth.reply_usage import Figure, Usage
from support.ledgers import KINDS, Ledgers, with_rows
from support.turns import turn_ended

MIDNIGHT = 1_793_487_600.0  # 2026-11-01 00:00 in Berlin
HOUR = 3600.0


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(params=KINDS)
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    ledgers = Ledgers(request.param, tmp_path, lambda: request.getfixturevalue("postgres"), lambda: MIDNIGHT)
    yield ledgers
    ledgers.close()


@pytest.fixture
def ledger(ledgers: Ledgers) -> Ledger:
    asked = turn_ended().asked
    failed = Failed(Failure(code="KA-NO-ACCOUNT", message="None."))

    def used(metered: float | None) -> Usage:
        return Usage(Figure(100, "estimated"), Figure(10, "estimated"), credits=metered)

    turns = [
        turn_ended(when=MIDNIGHT - 1, usage=used(1.0), project="shop", client="opencode"),
        turn_ended(when=MIDNIGHT, usage=used(0.25), project="shop", client="codex"),
        turn_ended(when=MIDNIGHT + 2 * HOUR, usage=used(0.5), project="blog", client="codex"),
        turn_ended("b", name="Account b", when=MIDNIGHT + 26 * HOUR, usage=used(None), end=Left()),
        turn_ended(None, when=MIDNIGHT + 26 * HOUR, usage=None, end=failed, client="codex",
                   asked=replace(asked, model="no-model", session="s-1")),
    ]  # fmt: skip
    rows = [row_of(replace(turn, request_id=f"req_{number}")) for number, turn in enumerate(turns)]
    return with_rows(ledgers.another(), rows)


def test_days_are_those_of_this_machine_s_zone_in_their_order(ledger: Ledger) -> None:
    assert totals(ledger, by="day") == [
        Total("2026-10-31", 1, 1.0, 100, 10, 0),
        Total("2026-11-01", 2, 0.75, 200, 20, 0),
        Total("2026-11-02", 2, 0.0, 100, 10, 1),
    ]


def test_what_spent_most_comes_first_and_turns_that_do_not_say_it_have_no_key(ledger: Ledger) -> None:
    assert totals(ledger, by="project") == [
        Total("shop", 2, 1.25, 200, 20, 0),
        Total("blog", 1, 0.5, 100, 10, 0),
        Total(None, 2, 0.0, 100, 10, 1),
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("model", ["claude-sonnet-4.5", "no-model"]),
        ("account", ["Account a", None, "Account b"]),
        ("client", ["opencode", "codex", None]),
        ("session", [None, "s-1"]),
        ("key", ["owner"]),
    ],
)
def test_the_same_turns_can_be_put_together_by_other_names(
    ledger: Ledger, by: str, keys: list[str | None]
) -> None:
    assert [total.key for total in totals(ledger, by=by)] == keys


def test_every_way_to_put_turns_together_counts_all_of_them(ledger: Ledger) -> None:
    sums = {
        (sum(t.turns for t in totals(ledger, by=by)), sum(t.credits for t in totals(ledger, by=by)))
        for by in get_args(By)
    }

    assert sums == {(5, 1.75)}


def test_a_time_begins_with_its_first_moment_and_ends_before_its_last(ledger: Ledger) -> None:
    within = totals(ledger, by="key", since=MIDNIGHT, until=MIDNIGHT + 2 * HOUR)

    assert within == [Total("owner", 1, 0.25, 100, 10, 0)]


def test_a_chart_has_a_point_for_each_hour_or_day_and_key_with_turns(ledger: Ledger) -> None:
    assert series(ledger, by="project", since=MIDNIGHT, until=MIDNIGHT + 24 * HOUR, bucket="hour") == [
        Point("2026-11-01T00:00", "shop", 1, 0.25),
        Point("2026-11-01T02:00", "blog", 1, 0.5),
    ]
    assert [point.start for point in series(ledger, by="key")] == ["2026-10-31", "2026-11-01", "2026-11-02"]


def test_failures_can_be_looked_at(ledger: Ledger) -> None:
    assert [(row.outcome, row.model_asked) for row in recent_failures(ledger, 9)] == [
        ("KA-NO-ACCOUNT", "no-model")
    ]


def test_where_there_is_no_ledger_there_are_no_rows(tmp_path: Path) -> None:
    assert totals(LocalLedger(tmp_path / "none"), by="day") == []
    (tmp_path / "empty").touch()
    assert totals(LocalLedger(tmp_path / "empty"), by="day") == []


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"no database at all" * 100)

    with pytest.raises(StoreFailed, match="odd cannot be read: file is not a database"):
        totals(LocalLedger(tmp_path / "odd"), by="day")
