"""Budgets, day by day: who is told, who is refused, and when all begins anew."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from kiro_auth.conversation import Figure, Usage
from kiro_auth.ledger import books
from kiro_auth.ledger.books import SESSION_DAYS, Books, Matter
from kiro_auth.ledger.budgets import Budgets
from kiro_auth.ledger.row import Row, row_of
from kiro_auth.ledger.sqlite import SqliteFile
from support.turns import turn_ended

BERLIN = ZoneInfo("Europe/Berlin")
MIDNIGHT = 1_793_487_600.0  # 2026-11-01 00:00 in Berlin
HOUR, DAY = 3600.0, 86400.0
SHOP = Matter(session="s-1", project="shop", caller="owner")
BLOG = Matter(session="s-2", project="blog", caller="ci")


class Stage:
    """Budgets whose time passes when it is told to."""

    def __init__(self, **limits: float) -> None:
        self.now = MIDNIGHT + 8 * HOUR
        self.said: list[str] = []
        self.books = Books(BERLIN)
        self.budgets = Budgets(
            limits,  # type: ignore[arg-type]  # names of scopes
            self.books,
            clock=lambda: self.now,
            on_near=self.said.append,
        )

    def refused(self, matter: Matter = SHOP) -> str | None:
        refusal = self.budgets.refusal(matter)
        return refusal.sentence() if refusal else None


def test_a_budget_is_told_once_at_eighty_per_cent_and_stops_at_all_of_it() -> None:
    stage = Stage(day=1)
    for _ in range(9):
        assert stage.refused() is None
        stage.budgets.add(SHOP, 0.1)
    assert stage.said == ["The budget of 1 credits for today is nearly used up: 0.80 were spent."]
    stage.budgets.add(SHOP, 0.11)

    assert stage.refused() == (
        "The budget of 1 credits for today is used up: 1.01 were spent (KA-BUDGET). Available again "
        "2026-11-01 23:00 UTC, in 16 h. Wait for tomorrow, "
        "or raise budgets.day in kiro.json, then kiro-auth reload."
    )
    assert len(stage.said) == 1


def test_the_next_day_of_this_machine_s_zone_begins_anew() -> None:
    stage = Stage(day=1, project=1, key=1)
    stage.budgets.add(SHOP, 5)
    stage.now = MIDNIGHT + DAY - 1
    assert stage.refused()
    stage.now = MIDNIGHT + DAY
    assert stage.refused() is None


def test_the_day_on_which_clocks_change_has_its_own_length() -> None:
    begin, end = Books(BERLIN).day(1_774_738_800.0)  # 2026-03-29, when an hour is left out

    assert end - begin == 23 * HOUR


@pytest.mark.parametrize(
    ("scope", "words"),
    [("project", "for the project shop today"), ("key", "for the key owner today"),
     ("session", "for this conversation")],
)  # fmt: skip
def test_a_budget_of_one_matter_stops_no_other(scope: str, words: str) -> None:
    stage = Stage(**{scope: 1})
    stage.budgets.add(SHOP, 1)

    assert words in (stage.refused(SHOP) or "")
    assert stage.refused(BLOG) is None


def test_a_conversation_s_budget_is_of_its_whole_life() -> None:
    stage = Stage(session=1)
    stage.budgets.add(SHOP, 1)
    stage.now += 3 * DAY

    assert (stage.refused() or "").endswith(
        "1.00 were spent (KA-BUDGET). Begin a new conversation, "
        "or raise budgets.session in kiro.json, then kiro-auth reload."
    )


def test_a_turn_that_names_no_project_or_conversation_is_counted_for_none() -> None:
    stage = Stage(project=1, session=1)
    bare = Matter(session=None, project=None, caller="owner")
    stage.budgets.add(bare, 9)

    assert stage.refused(bare) is None


def test_after_a_restart_books_are_those_of_the_ledger(tmp_path: Path) -> None:
    def spent(when: float, matter: Matter, amount: float | None) -> Row:
        usage = Usage(Figure(1, "estimated"), Figure(1, "estimated"), credits=amount)
        asked = replace(turn_ended().asked, session=matter.session)
        return row_of(turn_ended(when=when, usage=usage, project=matter.project, asked=asked))

    stage = Stage(day=1, project=1, session=1)
    file = SqliteFile(tmp_path / "ledger", clock=lambda: stage.now)
    file.add(
        [
            spent(MIDNIGHT - 1, SHOP, 0.9),
            spent(MIDNIGHT + 1, SHOP, 0.2),
            spent(MIDNIGHT + 2, BLOG, 0.3),
            spent(MIDNIGHT + 3, BLOG, None),
            spent(MIDNIGHT - (SESSION_DAYS + 1) * DAY, BLOG, 9.0),
        ]
    )
    file.close()
    stage.books.read(tmp_path / "ledger", stage.now)

    figures = {scope: stage.books.spent(scope, SHOP, stage.now) for scope in ("day", "project", "session")}
    assert figures == pytest.approx({"day": 0.5, "project": 0.2, "session": 1.1})
    assert stage.books.spent("session", BLOG, stage.now) == pytest.approx(0.3)
    assert "for this conversation" in (stage.refused(SHOP) or "")


def test_what_is_remembered_of_conversations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "_SESSIONS", 10)
    stage = Stage(session=1)
    for number in range(50):
        stage.budgets.add(Matter(session=str(number), project=None, caller="owner"), 2)

    assert [number for number in range(50) if stage.refused(Matter(str(number), None, "owner"))] == list(
        range(40, 50)
    )
