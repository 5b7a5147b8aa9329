"""Requests that ask for one account: its retries and waits are as ever, but no other account steps in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro_auth.accounts.attempts import attempts
from kiro_auth.accounts.choice import Wish
from kiro_auth.accounts.health import STATE_AFTER
from kiro_auth.failures import CATALOGUE, TurnFailed
from support.examples import examples
from support.pool import Stage, failure

CODES = [code for code in CATALOGUE if code not in ("KA-NO-ACCOUNT", "KA-ACCOUNTS-BUSY")]


@settings(max_examples=examples(60))
@given(
    answers=st.lists(st.sampled_from([*CODES, None]), max_size=6),
    strategy=st.sampled_from(["sticky", "round-robin", "lowest-usage"]),
)
def test_whatever_goes_wrong_no_other_account_is_asked(
    tmp_path_factory: pytest.TempPathFactory, answers: list[str | None], strategy: str
) -> None:
    stage = Stage(tmp_path_factory.mktemp("store"), "abc", account_selection_strategy=strategy)
    stage.answers["b"] = list(answers)

    async def ask() -> None:
        try:
            await stage.turn("session", only="b")
        except TurnFailed as error:
            assert error.failure.code not in ("KA-NO-ACCOUNT", "KA-ACCOUNTS-BUSY")  # noqa: PT017

    asyncio.run(ask())

    assert set(stage.calls) <= {"b"}


@pytest.mark.parametrize("code", STATE_AFTER)
async def test_the_failure_is_the_account_s_own_and_the_next_one_asks_nobody(
    tmp_path: Path, code: str
) -> None:
    stage = Stage(tmp_path, "ab", rate_limit_max_retries=0)
    stage.answers["b"] = [code, code]

    first = await stage.failing_turn(only="b")
    before = len(stage.calls)
    second = await stage.failing_turn(only="b")

    wanted = "KA-SIGNIN" if code == "KA-TOKEN" else code
    assert (first.code, second.code) == (wanted, wanted)
    assert first.account == "Account b"
    assert len(stage.calls) == before
    assert await stage.turn() == "a"


async def test_a_throttle_is_waited_for_although_another_account_is_free(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers["b"] = ["KA-THROTTLE"]

    assert await stage.turn(only="b") == "b"
    assert (stage.calls, len(stage.slept)) == (["b", "b"], 1)


@pytest.mark.parametrize("strategy", ["sticky", "round-robin"])
async def test_whose_turn_is_next_stays_as_it_was(tmp_path: Path, strategy: str) -> None:
    stage, plain = (
        Stage(tmp_path / name, "abc", account_selection_strategy=strategy) for name in ("bound", "plain")
    )

    with_it = []
    for _ in range(4):
        with_it.append(await stage.turn())
        await stage.turn(only="b")

    assert with_it == [await plain.turn() for _ in range(4)]


async def test_the_home_of_its_conversation_stays_as_it_was(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abc", account_selection_strategy="round-robin")

    served = [await stage.turn("mine"), await stage.turn("mine", only="c"), await stage.turn("mine")]

    assert served == ["a", "c", "a"]


async def test_when_it_is_busy_to_the_end_that_is_said_by_name(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", max_concurrent_per_account=1)
    first = next(iter(attempts(stage.pool, session=None, wish=Wish(only="b"))))
    soon = stage.pool.monotonic() + 0.05
    second = next(iter(attempts(stage.pool, session=None, wish=Wish(only="b"), deadline=soon)))

    async with first:
        with pytest.raises(TurnFailed) as raised:
            await second.__aenter__()

    assert raised.value.failure.code == "KA-TIMEOUT"
    assert raised.value.failure.message == (
        "The account Account b was busy with other requests, and the request asked for no other."
    )


async def test_one_that_is_removed_meanwhile_is_told_so(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers["b"] = [failure("KA-CAPACITY")]
    stage.meanwhile = lambda: stage.store.remove_account("b")

    assert (await stage.failing_turn(only="b")).message == (
        "The account that was asked for was removed meanwhile."
    )
    assert stage.calls == ["b"]
