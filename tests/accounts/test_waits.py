"""A request whose time runs out says what it waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.waits import Waits
from kiro_auth.failures import Failure, TurnFailed
from support.pool import Stage


async def unanswered(stage: Stage) -> None:
    """A request whose service says nothing until its time is over."""
    for attempt in attempts(stage.pool, session=None):
        async with attempt:
            attempt.limit_to(asyncio.get_running_loop().time())
            await asyncio.sleep(60)


async def failing_late(stage: Stage) -> Failure:
    with pytest.raises(TurnFailed) as raised:
        await unanswered(stage)
    return raised.value.failure


async def test_a_wait_for_an_account_that_was_slowed_down_is_named(tmp_path: Path) -> None:
    stage = Stage(tmp_path, request_timeout_ms=90_000)
    until = (stage.now + 40) * 1000
    stage.store.change_account("a", {"state": "cooling", "stateCode": "KA-THROTTLE", "stateUntil": until})

    ended = await failing_late(stage)

    assert ended.code == "KA-TIMEOUT"
    assert ended.message == (
        "Kiro did not begin to answer in time. Of the 90 s that a request has, it waited 41 s for an account "
        "that Kiro asked to slow down."
    )


async def test_without_a_wait_nothing_is_said_of_one(tmp_path: Path) -> None:
    assert (await failing_late(Stage(tmp_path))).message == "Kiro did not begin to answer in time."


@pytest.mark.parametrize(("left", "slept"), [(60, [46.0]), (59.9, [])])
async def test_a_wait_that_leaves_no_time_for_an_answer_is_told_instead_of_waited(
    tmp_path: Path, left: float, slept: list[float]
) -> None:
    """The next request must not wait out its time, and then say that Kiro did not begin to answer."""
    stage = Stage(tmp_path, request_timeout_ms=60_000)
    until = (stage.now + 45 + (60 - left)) * 1000
    stage.store.change_account("a", {"state": "cooling", "stateCode": "KA-THROTTLE", "stateUntil": until})

    if slept:
        assert await stage.turn() == "a"
    else:
        assert (await stage.failing_turn()).code == "KA-THROTTLE"
    assert stage.slept == pytest.approx(slept)


def test_waits_of_one_cause_are_summed_up_and_moments_left_out() -> None:
    waits = Waits(60)
    for cause, seconds in (("a free place", 2.4), ("a free place", 3.0), ("a new token", 0.9)):
        waits.add(cause, seconds)

    assert waits.too_late().message.endswith(
        "Of the 60 s that a request has, it waited 5 s for a free place."
    )
