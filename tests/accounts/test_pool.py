"""The pool: who serves, how many at a time, and that everything ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.pool import Pool
from kiro_auth.failures import CATALOGUE, Failure, TurnFailed
from support.examples import examples
from support.pool import Stage, failure


async def test_without_an_account_the_way_to_one_is_told(tmp_path: Path) -> None:
    ended = await Stage(tmp_path, "").failing_turn()

    assert ended.code == "KA-NO-ACCOUNT"
    assert str(ended.next_step).startswith("Sign in: kiro-auth login. ")


@pytest.mark.parametrize(
    ("strategy", "order"), [("sticky", "aaaaaa"), ("round-robin", "abcabc"), ("lowest-usage", "cccccc")]
)
async def test_the_strategy_of_the_options_chooses(tmp_path: Path, strategy: str, order: str) -> None:
    stage = Stage(tmp_path, "abc", account_selection_strategy=strategy)
    for name, used, limit in (("a", 10, 50), ("b", 40, 50), ("c", 90, 1000)):
        stage.store.set_usage(name, {"usedCount": used, "limitCount": limit})

    assert "".join([await stage.turn() for _ in range(6)]) == order


async def test_sticky_goes_on_with_the_account_that_the_gateway_before_used_last(tmp_path: Path) -> None:
    first = Stage(tmp_path, "abc", account_selection_strategy="sticky")
    first.answers = {"a": ["KA-QUOTA"]}
    assert [await first.turn(), await first.turn()] == ["b", "b"]
    first.store.change_account("a", {**health.READY})
    await first.pool.close()

    second = Stage(tmp_path, "", account_selection_strategy="sticky")
    assert [await second.turn(), await second.turn()] == ["b", "b"]
    second.store.remove_account("b")
    assert await Stage(tmp_path, "", account_selection_strategy="sticky").turn() in "ac"


async def test_a_conversation_stays_with_its_account_while_that_can_serve(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", account_selection_strategy="round-robin")

    before = [await stage.turn(session) for session in ("s1", "s2", "s1", "s2", "s1")]
    stage.answers["a"] = ["KA-QUOTA"]
    after = [await stage.turn(session) for session in ("s1", "s2", "s1")]

    assert "".join(before) == "ababa"
    assert "".join(after) == "bbb"


async def test_one_account_serves_only_so_many_at_a_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", max_concurrent_per_account=2, account_selection_strategy="sticky")
    under_way: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0}

    async def turn() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt as account:
                under_way[account.id] += 1
                most[account.id] = max(most[account.id], under_way[account.id])
                await asyncio.sleep(0.005)
                under_way[account.id] -= 1

    await asyncio.wait_for(asyncio.gather(*(turn() for _ in range(30))), 20)

    assert most == {"a": 2, "b": 2}


async def test_a_conversation_whose_account_is_only_busy_comes_back_to_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", max_concurrent_per_account=1)
    assert await stage.turn("s") == "a"

    for attempt in attempts(stage.pool, session="s"):
        async with attempt as account:
            assert account.id == "a"
            assert await stage.turn("s") == "b"

    assert await stage.turn("s") == "a"


async def test_waiting_for_a_free_slot_ends_at_the_requests_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_concurrent_per_account=1)
    for attempt in attempts(stage.pool, session=None):
        async with attempt:
            late = attempts(stage.pool, session=None)
            second = next(iter(late))
            stage.now += 301
            with pytest.raises(TurnFailed) as raised:
                await second.__aenter__()

    assert raised.value.failure.code == "KA-TIMEOUT"


async def test_a_client_that_leaves_frees_its_slot(tmp_path: Path) -> None:
    """Whether it waits for the service or for a slot."""
    stage = Stage(tmp_path, max_concurrent_per_account=1)

    async def endless() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                await asyncio.Event().wait()

    clients = [asyncio.create_task(endless()) for _ in range(3)]
    await asyncio.sleep(0.05)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)

    assert all(client.cancelled() for client in clients)
    assert await asyncio.wait_for(stage.turn(), 5) == "a"


async def test_after_output_began_nothing_is_tried_again(stage: Stage) -> None:
    made = 0

    async def turn() -> None:
        nonlocal made
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                made += 1
                attempt.commit()
                raise TurnFailed(Failure(code="KA-CUT", message="It broke off."))

    with pytest.raises(TurnFailed, match="broke off"):
        await turn()
    assert made == 1


async def test_a_defect_is_not_a_failure_of_an_account(stage: Stage) -> None:
    async def turn() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await turn()
    assert stage.account().state == "ready"
    assert await stage.turn() == "a"


async def test_each_attempt_knows_what_went_wrong_before(stage: Stage) -> None:
    seen: list[Sequence[str]] = []
    for attempt in attempts(stage.pool, session=None):
        async with attempt:
            seen.append([failure.code for failure in attempt.earlier])
            if len(seen) == 1:
                raise TurnFailed(failure("KA-CUT"))

    assert seen == [[], ["KA-CUT"]]


@settings(max_examples=examples(60), deadline=None)
@given(
    answers=st.fixed_dictionaries(
        {name: st.lists(st.sampled_from([*CATALOGUE, None]), max_size=30) for name in "abcdefghijkl"}
    ),
    accounts=st.integers(1, 12),
)
def test_whatever_the_service_says_a_request_ends_within_its_bounds(
    tmp_path_factory: pytest.TempPathFactory, answers: dict[str, Any], accounts: int
) -> None:
    """At most `max_request_iterations` calls, `request_timeout_ms` of waiting; every slot is given back."""
    names = "abcdefghijkl"[:accounts]
    stage = Stage(
        tmp_path_factory.mktemp("pool"), names, max_request_iterations=10, max_concurrent_per_account=1
    )
    stage.answers = answers

    async def story() -> None:
        with contextlib.suppress(TurnFailed):
            await stage.turn()
        assert len(stage.calls) <= 10
        assert sum(stage.slept) <= 300
        for name in names:
            stage.store.change_account(name, health.READY)
        everybody = asyncio.Barrier(len(names))
        await asyncio.wait_for(asyncio.gather(*(meet(everybody) for _ in names)), 10)

    async def meet(everybody: asyncio.Barrier) -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt:
                await everybody.wait()

    asyncio.run(story())


def test_accounts_are_read_once_for_each_state_of_the_store(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    before = stage.pool.roster().accounts

    stage.store.set_usage("a", {"usedCount": 1})
    same = stage.pool.roster()
    stage.store.change_account("a", {"label": "Renamed"})

    assert same.accounts is before
    assert same.usage == {"a": {"usedCount": 1}}
    assert [account.name for account in stage.pool.roster().accounts] == ["Renamed", "Account b"]


async def test_a_profile_is_looked_up_for_an_account_that_lacks_one_though_its_token_is_fresh(
    stage: Stage,
) -> None:
    looked_up: list[str] = []

    async def with_profile(account: Account) -> Account:
        looked_up.append(account.id)
        return replace(account, profile_arn="arn")

    pool = Pool(
        stage.store,
        stage.config,
        refresh=stage.refresh,
        with_profile=with_profile,
        lacks_profile=lambda account: account.profile_arn is None,
        clock=lambda: stage.now,
    )
    for attempt in attempts(pool, session=None):
        async with attempt as account:
            assert account.profile_arn == "arn"
            attempt.commit()

    assert looked_up == ["a"]
    assert stage.refreshed == []
