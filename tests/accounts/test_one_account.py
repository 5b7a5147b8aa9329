"""One account: how often and after which waits a request is tried again, and what the client is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import Failure
from kiro_auth.kiro.tokens.grants import TokenGrant
from support.pool import LASTING, NOW, Stage, failure


async def test_a_success_is_one_call(stage: Stage) -> None:
    assert await stage.turn() == "a"
    assert (stage.calls, stage.slept, stage.refreshed) == (["a"], [], [])


async def test_an_idle_account_answers_its_first_request(stage: Stage) -> None:
    """The token has expired over night: one refresh, one call."""
    stage.now += 2 * LASTING

    assert await stage.turn() == "a"
    assert (stage.refreshed, stage.calls, stage.tokens) == (["a"], ["a"], ["a-1"])


@pytest.mark.parametrize(
    ("code", "calls", "waits"),
    [
        ("KA-CAPACITY", 4, [6.25, 12.5, 25]),
        ("KA-SERVICE", 3, [1.25, 2.5]),
        ("KA-NETWORK", 3, [1.25, 2.5]),
        ("KA-CUT", 3, [1.25, 2.5]),
        ("KA-TIMEOUT", 1, []),
        ("KA-SIGNATURE", 1, []),
        ("KA-THROTTLE", 4, [6.25, 12.5, 25]),
        ("KA-ACTIVITY", 1, []),
        ("KA-QUOTA", 1, []),
        ("KA-OVERAGE", 1, []),
        ("KA-SUSPENDED", 1, []),
        ("KA-SIGNIN", 1, []),
        ("KA-ENTITLEMENT", 1, []),
        ("KA-PROFILE", 1, []),
        ("KA-KMS", 1, []),
        ("KA-BODY", 1, []),
        ("KA-OVERFLOW", 1, []),
        ("KA-CONVERSATION", 1, []),
        ("KA-MODEL", 1, []),
        ("KA-REQUEST", 1, []),
        ("KA-STORE", 1, []),
        ("KA-INTERNAL", 1, []),
    ],
)
async def test_how_often_and_after_which_waits_a_failure_is_tried_again(
    stage: Stage, code: str, calls: int, waits: list[float]
) -> None:
    """The waits are the longest there can be: chance adds a quarter to each."""
    stage.answers["a"] = [code] * 99

    ended = await stage.failing_turn()

    assert (len(stage.calls), stage.slept) == (calls, waits)
    assert (ended.code, ended.message) == (code, f"What {code} says.")


@pytest.mark.parametrize(("delay", "retries"), [(1000, 0), (1000, 2), (2000, 4)])
async def test_the_options_bound_a_throttled_request(tmp_path: Path, delay: int, retries: int) -> None:
    stage = Stage(tmp_path, rate_limit_retry_delay_ms=delay, rate_limit_max_retries=retries)
    stage.answers["a"] = ["KA-THROTTLE"] * 99

    await stage.failing_turn()

    assert len(stage.calls) == retries + 1
    assert stage.slept == [delay / 1000 * 2**retry * 1.25 for retry in range(retries)]


async def test_a_stated_wait_is_waited_in_full(stage: Stage) -> None:
    stage.answers["a"] = [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=17)]

    assert await stage.turn() == "a"
    assert stage.slept == [17]
    assert stage.account().state == "ready"


async def test_a_wait_beyond_the_requests_time_is_told_and_not_waited(stage: Stage) -> None:
    stage.answers["a"] = [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=400)]

    ended = await stage.failing_turn()

    assert (ended.code, ended.retry_after, ended.until) == ("KA-THROTTLE", 400, NOW + 400)
    assert stage.slept == []


async def test_a_request_that_comes_while_the_only_account_cools_is_told_how_long(tmp_path: Path) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=0)
    stage.answers["a"] = ["KA-THROTTLE"]
    await stage.failing_turn()
    stage.now += 3

    ended = await stage.failing_turn()

    assert (ended.code, ended.retry_after, len(stage.calls)) == ("KA-THROTTLE", 5, 1)


async def test_throttles_in_a_row_cool_longer_and_a_success_ends_that(tmp_path: Path) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=0)
    stage.answers["a"] = ["KA-THROTTLE"] * 6
    cooled = []
    for _ in range(6):
        await stage.failing_turn()
        until = stage.account().state_until or 0
        cooled.append(until / 1000 - stage.now)
        stage.now = until / 1000
    await stage.turn()
    stage.answers["a"] = ["KA-THROTTLE"]
    await stage.failing_turn()

    assert cooled == [8, 16, 32, 60, 60, 60]
    assert (stage.account().state_until or 0) / 1000 - stage.now == 8


async def test_a_refused_token_is_renewed_once_and_the_request_replayed(stage: Stage) -> None:
    stage.answers["a"] = ["KA-TOKEN"]

    assert await stage.turn() == "a"
    assert (stage.calls, stage.refreshed, stage.tokens) == (["a", "a"], ["a"], ["a-0", "a-1"])
    assert stage.account().state == "ready"


async def test_a_renewed_token_that_is_refused_too_needs_a_new_sign_in(stage: Stage) -> None:
    stage.answers["a"] = ["KA-TOKEN", "KA-TOKEN"]

    ended = await stage.failing_turn()

    assert (stage.calls, stage.refreshed) == (["a", "a"], ["a"])
    assert (ended.code, ended.next_step) == ("KA-SIGNIN", "Sign in again: kiro-auth login --builder-id")
    assert stage.account().state == "sign-in"


async def test_a_refresh_that_fails_for_now_is_tried_again_and_blames_nobody(stage: Stage) -> None:
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-SERVICE")]

    assert await stage.turn() == "a"
    assert (stage.refreshed, stage.slept, stage.calls) == (["a", "a"], [1.25], ["a"])

    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-NETWORK")] * 99
    assert (await stage.failing_turn()).code == "KA-NETWORK"
    assert stage.account().state == "ready"


async def test_a_dead_sign_in_is_asked_once_for_all_requests(stage: Stage) -> None:
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-SIGNIN")] * 99

    ended = [await stage.failing_turn() for _ in range(3)]

    assert stage.refreshed == ["a"]
    assert stage.calls == []
    assert {(each.code, each.next_step) for each in ended} == {
        ("KA-SIGNIN", "Sign in again: kiro-auth login --builder-id")
    }


@pytest.mark.parametrize("code", ["KA-QUOTA", "KA-OVERAGE", "KA-SUSPENDED", "KA-ENTITLEMENT", "KA-KMS"])
async def test_one_account_that_is_out_says_why_without_asking_again(stage: Stage, code: str) -> None:
    stage.answers["a"] = [code] * 99
    first = await stage.failing_turn()

    second = await stage.failing_turn()

    assert len(stage.calls) == 1
    assert (second.code, second.message, second.until) == (first.code, first.message, first.until)
    assert second.account == "Account a"
    assert second.next_step


async def test_a_used_up_account_serves_again_after_its_reset(stage: Stage) -> None:
    stage.store.set_usage("a", {"usedCount": 50, "limitCount": 50, "resetAt": (NOW + 5000) * 1000})
    stage.answers["a"] = ["KA-QUOTA"]
    assert (await stage.failing_turn()).until == NOW + 5000

    stage.now += 5000
    assert await stage.turn() == "a"
    assert stage.account().state == "ready"


async def test_a_renewal_that_hangs_ends_the_request_in_its_time_and_goes_on(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.now += 2 * LASTING
    answered = asyncio.Event()

    async def slow(account: Account) -> TokenGrant:
        await answered.wait()
        return TokenGrant("new", "r2", LASTING)

    options = msgspec.structs.replace(config.load(environment={}, folder=tmp_path), request_timeout_ms=50)
    stage.pool = pool = Pool(stage.store, options, refresh=slow, clock=lambda: stage.now)

    ended = await stage.failing_turn()

    assert (ended.code, stage.account().state) == ("KA-TIMEOUT", "ready")
    answered.set()
    assert (await pool.fresh(stage.account())).access_token == "new"
    assert stage.account().refresh_token == "r2"
