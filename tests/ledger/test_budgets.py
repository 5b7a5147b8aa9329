"""Budgets, day by day: who is told, who is refused, and when all begins anew; whatever keeps the ledger."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from kiro_auth.events import Caller, TurnEnded
from kiro_auth.ledger import books
from kiro_auth.ledger.books import SESSION_DAYS, Books, day
from kiro_auth.ledger.budgets import Budgets
from kiro_auth.ledger.local import Counting, LocalRecorder
from kiro_auth.ledger.matter import Matter
from kiro_auth.ledger.protocol import Recorder
from kiro_auth.ledger.row import row_of
from support.ledgers import KINDS, Ledgers
from support.turns import turn_ended

BERLIN = ZoneInfo("Europe/Berlin")
MORNING = 1_793_520_000.0  # 2026-11-01 09:00 in Berlin
HOUR, DAY = 3600.0, 86400.0
SHOP = Matter(session="s-1", project="shop", caller="owner")
BLOG = Matter(session="s-2", project="blog", caller="ci")


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def a_turn(matter: Matter, metered: float | None, when: float) -> TurnEnded:
    a_turn.count = getattr(a_turn, "count", 0) + 1  # type: ignore[attr-defined]
    return turn_ended(
        when=when,
        metered=metered,
        project=matter.project,
        asked=replace(turn_ended().asked, session=matter.session),
        caller=Caller(id=matter.caller, name=matter.caller),
        request_id=f"req_{a_turn.count}",  # type: ignore[attr-defined]
    )


class Stage:
    """Budgets whose time passes when it is told to."""

    def __init__(self, kind: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.now = MORNING
        self.said: list[str] = []
        self.recorders: list[Recorder] = []
        self.ledgers = Ledgers(kind, folder, lambda: request.getfixturevalue("postgres"), lambda: self.now)
        self.limits: dict[str, float] = {}

    def begin(self, **limits: float) -> None:
        self.limits = limits
        self.begin_anew()
        self.midnight = day(self.now, self.recorders[-1].zone)[0]
        self.now = self.midnight + 8 * HOUR

    def begin_anew(self, machine: str = "here") -> None:
        """As another gateway does."""
        self.budgets = Budgets(
            self.limits,  # type: ignore[arg-type]  # names of scopes
            clock=lambda: self.now,
            on_near=self.said.append,
        )
        told = self.budgets.on_counted
        self.recorders.append(
            self.ledgers.another(machine).recorder(
                counts=True, on_counted=lambda _, changes: told(changes), on_trouble=lambda _: None
            )
        )

    def spend(self, matter: Matter, metered: float | None) -> None:
        for listener in self.recorders[-1].listeners:
            listener.on_turn_ended(a_turn(matter, metered, self.now))

    async def refused(self, matter: Matter = SHOP) -> str | None:
        refusal = await self.budgets.refusal(matter, self.recorders[-1])
        return refusal.sentence() if refusal else None

    async def close(self) -> None:
        for recorder in self.recorders:
            await recorder.close()
        self.ledgers.close()


@pytest.fixture(params=KINDS)
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(request.param, tmp_path, request)
    yield stage
    await stage.close()


async def test_a_budget_is_told_once_at_eighty_per_cent_and_stops_at_all_of_it(stage: Stage) -> None:
    stage.begin(day=1)
    for _ in range(9):
        assert await stage.refused() is None
        stage.spend(SHOP, 0.1)
    assert await stage.refused() is None
    assert stage.said == ["The budget of 1 credits for today is nearly used up: 0.80 were spent."]
    stage.spend(SHOP, 0.1)

    tomorrow = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(day(stage.now, stage.recorders[0].zone)[1]))
    assert await stage.refused() == (
        "The budget of 1 credits for today is used up: 1.00 were spent (KA-BUDGET). Available again "
        f"{tomorrow}, in 16 h. Wait for tomorrow, "
        "or raise budgets.day in kiro.json, then kiro-auth reload."
    )
    assert len(stage.said) == 1


async def test_the_next_day_begins_anew(stage: Stage) -> None:
    stage.begin(day=1, project=1, key=1)
    stage.spend(SHOP, 5)
    stage.now = stage.midnight + DAY - 1
    assert await stage.refused()
    stage.now = stage.midnight + DAY
    assert await stage.refused() is None


def test_the_day_on_which_clocks_change_has_its_own_length() -> None:
    begin, end = day(1_774_738_800.0, BERLIN)  # 2026-03-29, when an hour is left out

    assert end - begin == 23 * HOUR


@pytest.mark.parametrize(
    ("scope", "words"),
    [("project", "for the project shop today"), ("key", "for the key owner today"),
     ("session", "for this conversation")],
)  # fmt: skip
async def test_a_budget_of_one_matter_stops_no_other(stage: Stage, scope: str, words: str) -> None:
    stage.begin(**{scope: 1})
    stage.spend(SHOP, 1)

    assert words in (await stage.refused(SHOP) or "")
    assert await stage.refused(BLOG) is None


async def test_a_conversation_s_budget_is_of_its_whole_life(stage: Stage) -> None:
    stage.begin(session=1)
    for _ in range(4):
        stage.spend(SHOP, 0.25)
        stage.now += (SESSION_DAYS - 1) * DAY

    assert (await stage.refused() or "").endswith(
        "1.00 were spent (KA-BUDGET). Begin a new conversation, "
        "or raise budgets.session in kiro.json, then kiro-auth reload."
    )


async def test_a_conversation_that_was_quiet_for_long_is_a_new_one_to_who_begins_then(stage: Stage) -> None:
    stage.begin(session=1)
    stage.spend(SHOP, 5)
    assert await stage.refused()
    await stage.recorders[-1].close()
    stage.now += (SESSION_DAYS + 1) * DAY
    stage.begin_anew()

    assert await stage.refused() is None
    stage.spend(SHOP, 0.5)
    assert await stage.refused() is None
    stage.spend(SHOP, 0.5)
    assert await stage.refused()


async def test_a_turn_that_names_no_project_or_conversation_is_counted_for_none(stage: Stage) -> None:
    stage.begin(project=1, session=1)
    bare = Matter(session=None, project=None, caller="owner")
    stage.spend(bare, 9)

    assert await stage.refused(bare) is None


async def test_a_gateway_that_begins_counts_on_from_what_the_ledger_has(stage: Stage) -> None:
    stage.begin(day=1, project=1, session=1)
    morning = stage.now
    for matter, metered, when in [
        (SHOP, 0.9, stage.midnight - 1),
        (BLOG, 9.0, stage.midnight - (SESSION_DAYS + 1) * DAY),
        (SHOP, 0.2, stage.midnight + 1),
        (BLOG, 0.3, stage.midnight + 2),
        (BLOG, None, stage.midnight + 3),
    ]:
        assert stage.ledgers.another().add_missing([row_of(a_turn(matter, metered, when))]) == 1
    stage.now = morning
    stage.begin_anew()

    scopes = ("day", "project", "session")
    spent = await stage.recorders[-1].spent(SHOP, scopes)  # type: ignore[arg-type]
    assert spent == pytest.approx({"day": 0.5, "project": 0.2, "session": 1.1})
    spent = await stage.recorders[-1].spent(BLOG, scopes)  # type: ignore[arg-type]
    assert spent["session"] == pytest.approx(0.3)
    assert "for this conversation" in (await stage.refused(SHOP) or "")


async def test_what_is_remembered_of_conversations_in_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(books, "_SESSIONS", 10)
    clock: Callable[[], float] = lambda: MORNING  # noqa: E731
    budgets = Budgets({"session": 1}, clock=clock, on_near=lambda _: None)
    recorder = LocalRecorder(Counting(clock, lambda *_: None), None)
    for number in range(50):
        recorder.listeners[0].on_turn_ended(a_turn(Matter(str(number), None, "owner"), 2, MORNING))

    refused = [n for n in range(50) if await budgets.refusal(Matter(str(n), None, "owner"), recorder)]
    assert refused == list(range(40, 50))


def test_books_say_how_sums_have_grown() -> None:
    mine = Books(BERLIN)
    mine.add(SHOP, 0.1, MORNING)
    grown = {change.scope: (change.before, change.after) for change in mine.add(SHOP, 0.2, MORNING)}
    assert grown == dict.fromkeys(("day", "project", "key", "session"), (0.1, 0.3))
