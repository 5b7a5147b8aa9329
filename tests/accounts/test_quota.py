"""Usage: read in the background, added up in between, never anybody's problem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth import config
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.quota import KEPT_SECONDS, UsageSync
from kiro_auth.accounts.usage_row import usage_row, used_credits
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.store.protocol import Credits
from support.storing import HandStore
from support.turns import turn_ended

NOW = 1_800_000_000.0
ACCOUNT = Account(id="a")
ANSWER = {
    "nextDateReset": 1798761600,
    "subscriptionInfo": {"subscriptionTitle": "KIRO PRO"},
    "usageBreakdownList": [
        {"resourceType": "VIBE", "currentUsage": 7, "usageLimit": 7},
        {
            "resourceType": "CREDIT",
            "currentUsage": 417,
            "currentUsageWithPrecision": 417.43,
            "usageLimit": 1000,
            "freeTrialInfo": {
                "freeTrialStatus": "ACTIVE",
                "currentUsageWithPrecision": 106.2,
                "usageLimit": 500,
            },
            "bonuses": [
                {"status": "ACTIVE", "currentUsage": 1, "usageLimit": 10},
                {"status": "EXPIRED", "currentUsage": 5, "usageLimit": 50},
            ],
        },
    ],
}
ROW = {"usedCount": 524.63, "limitCount": 1510.0, "lastSync": NOW * 1000, "resetAt": 1798761600000}


class Stage:
    """A usage sync with a service that answers or fails as told, and time that passes only when told."""

    def __init__(self, folder: Path, *answers: Any, **environment: str) -> None:
        self.store = HandStore(folder, folder / "locks")
        self.store.add_account({"id": ACCOUNT.id})
        self.answers = list(answers)
        self.asked = 0
        self.slept: list[float] = []
        self.now = NOW
        self.settings = config.load(environment=environment, folder=folder)
        self.sync = UsageSync(
            self.store, self.settings, fetch=self.fetch, sleep=self.sleep, clock=lambda: self.now
        )

    async def fetch(self, _: Account) -> Any:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def settled(self) -> dict[str, Any]:
        """The row once all that runs in the background has ended."""
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait_for(asyncio.gather(*others), 10)
        return self.store.usage().get("a", {})


TROUBLE = TurnFailed(Failure(code="KA-SERVICE", message="Out of order."))


async def test_the_row_is_the_services_and_keeps_what_we_do_not_know(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ANSWER)
    stage.store.set_usage("a", {"usedCount": 1, "realEmail": "kept"})

    stage.sync.on_turn_ended(turn_ended(metered=0.5))

    row = await stage.settled()
    row.pop("parts")
    assert row == ROW | {"plan": "KIRO PRO", "realEmail": "kept", "lastTurnCredits": 0.5}


async def test_an_account_is_read_at_most_once_a_minute_and_credits_are_added_in_between(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, ANSWER)
    stage.sync.on_turn_ended(turn_ended(metered=0.5))
    await stage.settled()

    for _ in range(20):
        stage.sync.on_turn_ended(turn_ended(metered=0.25))
    row = await stage.settled()
    stage.now += 60
    stage.sync.on_turn_ended(turn_ended())
    later = await stage.settled()

    assert (row["usedCount"], row["creditsSince"]) == (524.63, pytest.approx(5))
    assert used_credits(row) == pytest.approx(524.63 + 5)
    assert later["usedCount"] == 524.63
    assert "creditsSince" not in later
    assert later["lastTurnCredits"] == 0.25
    assert stage.asked == 2


@pytest.mark.parametrize("retries", [0, 3, 5])
async def test_a_failing_reading_is_tried_again_as_often_as_configured_and_then_let_be(
    tmp_path: Path, retries: int
) -> None:
    stage = Stage(tmp_path, TROUBLE, KIRO_USAGE_SYNC_MAX_RETRIES=str(retries))
    before = stage.store.accounts()

    stage.sync.on_turn_ended(turn_ended(metered=2.5))

    assert await stage.settled() == {"creditsSince": 2.5, "lastTurnCredits": 2.5}
    assert stage.asked == retries + 1
    assert stage.slept == [2.0**retry for retry in range(retries)]
    assert stage.store.accounts() == before


class Blocked:
    """What no store understands lies where it keeps the usage, for so many pauses of the stage."""

    def __init__(self, stage: Stage, folder: Path, pauses: int) -> None:
        self._stage = stage
        self._path = folder / "kiro-usage.json"
        self._left = pauses
        self._path.write_text("[]")
        stage.sync._sleep = self.sleep

    async def sleep(self, seconds: float) -> None:
        await self._stage.sleep(seconds)
        self._left -= 1
        if not self._left:
            self._path.unlink()


@pytest.mark.parametrize("first", ["a reading is due", "no reading is due"])
async def test_credits_that_cannot_be_saved_are_saved_as_soon_as_that_can_be(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    caplog.set_level("INFO", "kiro_auth.quota")
    stage = Stage(tmp_path, TROUBLE, KIRO_USAGE_SYNC_MAX_RETRIES="0")
    if first == "no reading is due":
        stage.sync.on_turn_ended(turn_ended())
        await stage.settled()
    Blocked(stage, tmp_path, pauses=3)

    for _ in range(4):
        stage.sync.on_turn_ended(turn_ended(metered=0.25))

    assert await stage.settled() == {"creditsSince": 1.0, "lastTurnCredits": 0.25}
    assert stage.slept == [KEPT_SECONDS] * 3
    told = [record.message for record in caplog.records if "credits" in record.message]
    assert len(told) == 2, "however often it was tried"
    assert told[0].startswith("the credits of the last turns cannot be saved yet: ")
    assert told[1] == "the credits of the last turns are saved now"


async def test_credits_that_were_not_saved_when_the_service_was_read_are_not_counted_twice(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, TROUBLE, ANSWER)
    Blocked(stage, tmp_path, pauses=1)

    stage.sync.on_turn_ended(turn_ended(metered=0.5))

    row = await stage.settled()
    assert (row["usedCount"], used_credits(row), row["lastTurnCredits"]) == (524.63, 524.63, 0.5)


async def test_a_turn_that_ends_while_those_before_are_saved_for_a_reading_is_known_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its credits are among the service's, which is read after it; that it was the last one is not."""
    stage = Stage(tmp_path, ANSWER)
    add_credits, ended = stage.store.add_credits, []

    async def add_and_end(metered: Mapping[str, Credits]) -> None:
        await add_credits(metered)
        if not ended:
            ended.append(True)
            stage.sync.on_turn_ended(turn_ended(metered=0.125))

    monkeypatch.setattr(stage.store, "add_credits", add_and_end)
    stage.sync.on_turn_ended(turn_ended(metered=0.5))
    row = await stage.settled()

    assert (row["lastTurnCredits"], used_credits(row)) == (0.125, 524.63)


async def test_a_reading_that_works_at_the_second_try_is_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, TROUBLE, ANSWER)

    stage.sync.on_turn_ended(turn_ended())

    assert (await stage.settled())["usedCount"] == 524.63


async def test_usage_that_is_not_wanted_is_neither_read_nor_kept(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ANSWER, KIRO_USAGE_TRACKING_ENABLED="false")

    stage.sync.on_turn_ended(turn_ended(metered=2.5))

    assert await stage.settled() == {}
    assert stage.asked == 0


async def test_credits_of_many_turns_are_written_together_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, paused = Stage(tmp_path, ANSWER), asyncio.Event()
    writes: list[Any] = []
    add_credits = stage.store.add_credits

    async def counted(metered: Any) -> None:
        writes.append(metered)
        await add_credits(metered)

    async def pause(seconds: float) -> None:
        assert seconds == KEPT_SECONDS
        await paused.wait()

    monkeypatch.setattr(stage.store, "add_credits", counted)
    sync = UsageSync(stage.store, stage.settings, fetch=stage.fetch, sleep=pause, clock=lambda: NOW)
    sync.on_turn_ended(turn_ended())
    await stage.settled()
    before = (tmp_path / "kiro-usage.json").read_bytes()

    for number in range(1, 21):
        sync.on_turn_ended(turn_ended(metered=number / 4))
        await asyncio.sleep(0)
    assert (tmp_path / "kiro-usage.json").read_bytes() == before
    paused.set()
    row = await stage.settled()

    assert (row["creditsSince"], row["lastTurnCredits"]) == (52.5, 5)
    assert writes == [{"a": Credits(52.5, 5)}]


async def test_credits_of_the_last_turns_are_kept_at_an_ordinary_end(tmp_path: Path) -> None:
    stage = Stage(tmp_path, ANSWER)
    sync = UsageSync(stage.store, stage.settings, fetch=stage.fetch, clock=lambda: NOW)
    sync.on_turn_ended(turn_ended())
    await stage.settled()

    sync.on_turn_ended(turn_ended(metered=0.5))
    await asyncio.sleep(0)
    assert "creditsSince" not in stage.store.usage()["a"]
    await sync.close()

    assert stage.store.usage()["a"]["creditsSince"] == 0.5


async def test_credits_that_cannot_be_kept_are_told_and_nothing_else_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, ANSWER)
    (tmp_path / "kiro-usage.json").write_text("[]")

    stage.sync.on_turn_ended(turn_ended(metered=0.5))
    await asyncio.sleep(0)
    await stage.sync.close()

    assert "the credits of the last turns cannot be saved yet" in caplog.text
    assert "0.5 credits of the last turns are not saved" in caplog.text


async def test_closing_ends_what_runs_in_the_background(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def never(_: Account) -> Any:
        await asyncio.Event().wait()

    sync = UsageSync(stage.store, config.load(environment={}, folder=tmp_path), fetch=never)
    sync.on_turn_ended(turn_ended())
    await asyncio.sleep(0)

    await asyncio.wait_for(sync.close(), 5)

    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_figures_with_decimals_trial_and_bonuses_count() -> None:
    row = usage_row(ANSWER, NOW)

    assert row["parts"] == [
        {"kind": "plan", "resource": "VIBE", "used": 7, "limit": 7},
        {"kind": "plan", "resource": "CREDIT", "used": 417.43, "limit": 1000},
        {"kind": "trial", "resource": "CREDIT", "used": 106.2, "limit": 500},
        {"kind": "bonus", "resource": "CREDIT", "used": 1, "limit": 10},
    ]
    assert row | {"parts": None} == ROW | {
        "plan": "KIRO PRO", "creditsSince": None, "parts": None, "overage": None
    }  # fmt: skip


def test_a_bonus_that_ended_does_not_count_whatever_its_status_says() -> None:
    def bonus(ends: float) -> dict[str, Any]:
        return {"status": "ACTIVE", "currentUsage": 1, "usageLimit": 10, "expiresAt": ends}

    row = {"resourceType": "CREDIT", "currentUsage": 5, "usageLimit": 50}
    answer = {"usageBreakdownList": [row | {"bonuses": [bonus(NOW - 1), bonus(NOW + 1)]}]}

    found = usage_row(answer, NOW)

    assert (found["usedCount"], found["limitCount"]) == (6, 60)


def test_use_beyond_the_plan_is_told_apart() -> None:
    row = {
        "resourceType": "CREDIT", "currentUsage": 1000, "usageLimit": 1000, "currency": "USD",
        "currentOverages": 12, "currentOveragesWithPrecision": 12.5, "overageCharges": 0.5,
    }  # fmt: skip
    answer = {
        "usageBreakdownList": [row],
        "overageConfiguration": {"overageStatus": "ENABLED", "overageLimit": 100},
    }

    found = usage_row(answer, NOW)

    assert (found["usedCount"], found["limitCount"]) == (1000, 1000)
    assert found["overage"] == {
        "enabled": True, "used": 12.5, "limit": 100, "charges": 0.5, "currency": "USD"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, {}),
        ({"usageBreakdownList": []}, {}),
        ({"usageBreakdown": {"currentUsage": 3, "usageLimit": 50}}, {"usedCount": 3, "limitCount": 50}),
        (
            {"usageBreakdownList": [{"resourceType": "VIBE", "currentUsage": 3, "usageLimit": 50}]},
            {"usedCount": 3, "limitCount": 50},
        ),
        ({"nextDateReset": 1798761600000}, {"resetAt": 1798761600000}),
        ({"nextDateReset": 1798761600.5}, {"resetAt": 1798761600500}),
        (
            {
                "usageBreakdown": {
                    "usageLimit": 50,
                    "freeTrialInfo": {"freeTrialStatus": "EXPIRED", "usageLimit": 9},
                }
            },
            {"usedCount": 0, "limitCount": 50},
        ),
    ],
    ids=[
        "nothing",
        "no rows",
        "the older shape",
        "no credits",
        "a date in ms",
        "a date in s",
        "an ended trial",
    ],
)
def test_other_shapes_of_the_answer(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    """An answer without figures leaves those known before."""
    row = usage_row(answer, NOW)

    assert row.pop("lastSync") == NOW * 1000
    row.pop("parts")
    assert {name: value for name, value in row.items() if value is not None} == expected


NAMES = st.sampled_from(
    [
        *("usageBreakdownList", "usageBreakdown", "resourceType", "currentUsage", "usageLimit", "bonuses"),
        *("freeTrialInfo", "freeTrialStatus", "status", "nextDateReset", "subscriptionInfo"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e15, 1e15) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, JSON))
def test_any_answer_gives_a_row_that_can_be_kept(answer: dict[str, Any]) -> None:
    row = usage_row(answer, NOW)

    assert row["lastSync"] == NOW * 1000
    json.dumps(row, allow_nan=False)
