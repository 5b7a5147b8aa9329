"""What a request leaves behind: states of accounts, and what the store cannot keep."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kiro_auth import config
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import CATALOGUE, Cause, Failure, Period, StoreFailed, TurnFailed
from kiro_auth.kiro.tokens.grants import TokenGrant
from support.pool import LASTING, NOW, Stage, failure


@pytest.mark.parametrize("code", [code for code, row in CATALOGUE.items() if row.cause is not Cause.ACCOUNT])
async def test_a_failure_that_is_not_the_accounts_never_changes_its_health(tmp_path: Path, code: str) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": [code] * 99, "b": [code] * 99}
    before = stage.store.accounts()

    ended = await stage.failing_turn()

    others_may_do_better = code in (
        "KA-MODEL",
        "KA-OIDC",
        "KA-OIDC-PERSON",
        "KA-OIDC-PROVIDER",
        "KA-CONFIG",
        "KA-STORE",
        "KA-STRANGER",
        "KA-GATEWAY",
        "KA-PORT",
    )
    assert len(set(stage.calls)) == (2 if others_may_do_better else 1)
    assert stage.store.accounts() == before
    assert (ended.code, ended.message) == (code, f"What {code} says.")


@pytest.mark.parametrize(("code", "state"), [("KA-TOKEN", "ready"), ("KA-SUSPENDED", "suspended")])
async def test_a_token_that_ends_within_an_answer_is_no_verdict(stage: Stage, code: str, state: str) -> None:
    for attempt in attempts(stage.pool, session=None):
        async with attempt:
            attempt.commit()
            attempt.broke(failure(code))

    assert stage.account().state == state


async def test_who_signed_in_meanwhile_is_not_judged_by_the_tokens_of_before(stage: Stage) -> None:
    async def late() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                stage.store.change_account("a", {"accessToken": "new", "generation": 7})
                raise TurnFailed(failure("KA-SIGNIN"))

    with pytest.raises(TurnFailed):
        await late()

    assert stage.account().state == "ready"


async def test_a_renewal_under_way_is_saved_before_the_pool_closes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.now += 2 * LASTING
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(account: Account) -> TokenGrant:
        asked.set()
        await answered.wait()
        return TokenGrant("new", "r2", LASTING)

    options = config.load(environment={}, folder=tmp_path)
    pool = Pool(stage.store, options, refresh=slow, clock=lambda: stage.now)
    client = asyncio.create_task(pool.fresh(stage.account()))
    await asked.wait()
    client.cancel()
    asyncio.get_running_loop().call_later(0.1, answered.set)
    await pool.close()

    assert (stage.account().access_token, stage.account().refresh_token) == ("new", "r2")


async def test_a_suspended_account_is_not_asked_again_by_requests_under_way(tmp_path: Path) -> None:
    """One request waits out a throttle; meanwhile another learns that the account is locked."""
    stage = Stage(tmp_path, "a")
    stage.answers["a"] = ["KA-THROTTLE"]

    def locked() -> None:
        stage.store.change_account(
            "a", {"state": "suspended", "stateCode": "KA-SUSPENDED", "stateReason": "Locked."}
        )

    stage.meanwhile = locked
    ended = await stage.failing_turn()

    assert stage.calls == ["a"]
    assert stage.account().state == "suspended"
    assert ended.account == "Account a"


async def test_a_damaged_record_stops_nobody_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(tmp_path, "")
    stage.add("bad", accessToken={"secret": "s3cret"})
    stage.add("b")

    assert await stage.turn() == "b"
    assert [account.id for account in stage.pool.accounts()] == ["b"]
    assert "bad" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_store_that_cannot_be_read_is_said_so(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "kiro-accounts.json").write_text("{")

    with pytest.raises(StoreFailed, match="is not JSON"):
        await stage.turn()


async def test_a_state_that_cannot_be_kept_ends_the_request_all_the_same(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    stage.answers["a"] = ["KA-QUOTA"]

    assert (await stage.failing_turn()).code == "KA-QUOTA"


async def test_nobody_waits_while_another_program_holds_the_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": ["KA-QUOTA"]}

    with stage.store.leased("kiro-accounts"):
        turn = asyncio.create_task(stage.turn())
        await asyncio.sleep(0.2)
        assert stage.calls == ["a"]
        assert not turn.done(), "the verdict is still to be written, and everything else goes on"

    assert await turn == "b"
    assert stage.account("a").state == "quota"


async def test_a_verdict_does_not_undo_what_was_decided_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": ["KA-THROTTLE"]}
    change = stage.store.change

    async def after_another(account_id: str, *arguments: Any, **options: Any) -> Any:
        await change(account_id, {"state": "suspended"})
        return await change(account_id, *arguments, **options)

    monkeypatch.setattr(stage.store, "change", after_another)
    assert await stage.turn() == "b"

    assert stage.account("a").state == "suspended"


async def test_a_client_that_leaves_at_the_end_of_its_answer_takes_no_verdict_with_it(stage: Stage) -> None:
    """The handler is cancelled while the verdict waits for the one thread there is."""
    busy = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    loop.run_in_executor(None, busy.wait)

    async def handler() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                attempt.commit()
                attempt.broke(failure("KA-SUSPENDED"))

    task = asyncio.create_task(handler())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    busy.set()
    await stage.pool.close()

    assert task.cancelled()
    assert stage.account().state == "suspended"


RESET = NOW + 9 * 86400


def used_up(period: Period | None = "month", **more: Any) -> Failure:
    return Failure(code="KA-QUOTA", message="Used up.", period=period, **more)


@pytest.mark.parametrize("code", ["KA-QUOTA", "KA-OVERAGE"])
async def test_when_a_plan_turns_out_used_up_kiro_is_asked_until_when(stage: Stage, code: str) -> None:
    stage.answers["a"] = [code]
    stage.usage = [{"nextDateReset": RESET}]

    ended = await stage.failing_turn()

    assert (ended.code, ended.until, ended.next_try, stage.read) == (code, RESET, None, ["a"])
    assert (await stage.failing_turn()).until == RESET
    assert stage.read == ["a"]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"nextDateReset": NOW - 5},
        TurnFailed(failure("KA-THROTTLE")),
        TurnFailed(failure("KA-SUSPENDED")),
        TimeoutError(),
    ],
    ids=["no date", "a date gone by", "throttled", "locked", "no answer"],
)
async def test_a_reset_that_kiro_does_not_name_is_not_known(stage: Stage, answer: Any) -> None:
    """And what the usage call met says nothing about the account's requests."""
    stage.answers["a"] = [used_up()]
    stage.usage = [answer]

    ended = await stage.failing_turn()

    assert (ended.code, ended.until) == ("KA-QUOTA", None)
    assert ended.next_try == (NOW // 86400 + 1) * 86400
    assert "Kiro does not say when this ends" in ended.sentence()
    assert (stage.account().state, stage.account().state_until_stated) == ("quota", False)


async def test_usage_that_nobody_wants_is_not_asked_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, usage_tracking_enabled="false")
    stage.answers["a"] = [used_up()]

    assert (await stage.failing_turn()).until is None
    assert stage.read == []


@pytest.mark.parametrize(("period", "seconds"), [("hour", 600), ("day", None), ("week", None)])
async def test_the_reset_of_the_plan_ends_no_shorter_limit(
    stage: Stage, period: Period, seconds: float | None
) -> None:
    await stage.store.change_usage("a", {"resetAt": RESET * 1000})
    stage.answers["a"] = [used_up(period)]

    ended = await stage.failing_turn()

    assert ended.until is None
    assert ended.next_try == (NOW + seconds if seconds else (NOW // 86400 + 1) * 86400)


async def test_a_limit_of_the_hour_is_not_asked_again_for_minutes_and_the_next_request_is_told_at_once(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=3)
    stage.answers["a"] = [used_up("hour")]
    first, second = await stage.failing_turn(), await stage.failing_turn()
    stage.now += 599
    third = await stage.failing_turn()

    assert {f.code for f in (first, second, third)} == {"KA-QUOTA"}
    assert (stage.calls, stage.slept) == (["a"], [])
    stage.now += 1
    assert await stage.turn() == "a"


async def test_other_accounts_come_first_when_a_limit_of_the_day_is_used_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", account_selection_strategy="sticky")
    stage.answers["a"] = [used_up("day")]

    assert [await stage.turn(), await stage.turn()] == ["b", "b"]
    assert stage.calls == ["a", "b", "b"]
    assert stage.slept == []


async def test_unusual_activity_rests_the_account_for_minutes_that_grow(tmp_path: Path) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=5)
    stage.answers["a"] = [Failure(code="KA-ACTIVITY", message="Odd.", retry_after=3)] * 6
    rests = []
    for _ in range(6):
        ended = await stage.failing_turn()
        until = (stage.account().state_until or 0) / 1000
        rests.append(until - stage.now)
        stage.now = until

    assert rests == [300, 600, 1200, 2400, 3600, 3600]
    assert (stage.slept, len(stage.calls)) == ([], 6)
    assert ended.code == "KA-ACTIVITY"
    assert "a day" in CATALOGUE["KA-ACTIVITY"].remedy


@pytest.mark.parametrize("together", [2, 4])
@pytest.mark.parametrize(("code", "rests"), [("KA-ACTIVITY", [300, 600, 1200]), ("KA-THROTTLE", [8, 16, 32])])
async def test_requests_that_fail_together_lengthen_a_rest_once(
    tmp_path: Path, code: str, rests: list[float], together: int
) -> None:
    stage = Stage(tmp_path, rate_limit_max_retries=0)
    all_ask = asyncio.Barrier(together)

    async def ask() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                await all_ask.wait()
                raise TurnFailed(Failure(code=code, message="Slow down."))

    seen = []
    for _ in rests:
        ended = await asyncio.gather(*(ask() for _ in range(together)), return_exceptions=True)
        assert [type(error) for error in ended] == [TurnFailed] * together
        until = (stage.account().state_until or 0) / 1000
        seen.append(until - stage.now)
        stage.now = until

    assert seen == rests
