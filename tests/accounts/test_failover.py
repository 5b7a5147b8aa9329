"""Several accounts: who takes over, who is waited for, and what is told when nobody can serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.attempts import attempts
from kiro_auth.failures import Failure, TurnFailed
from support.pool import LASTING, NOW, Stage, failure


@pytest.mark.parametrize("code", ["KA-MODEL", "KA-CONFIG", "KA-STORE"])
async def test_another_account_serves_what_one_has_no_model_or_usable_record_for(
    tmp_path: Path, code: str
) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": [code] * 99}

    assert [await stage.turn(), await stage.turn()] == ["b", "b"]
    assert stage.slept == []


@pytest.mark.parametrize(
    "error", [ValueError("Newline in a header"), KeyError("x"), TypeError(), OverflowError()]
)
async def test_whatever_one_account_raises_another_serves(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, "ab")
    stage.odd = {"a": error}

    assert [await stage.turn(), await stage.turn()] == ["b", "b"]
    assert stage.calls[0] == "a"
    assert "Account a" in caplog.text


async def test_a_defect_that_is_not_one_account_s_is_tried_with_no_third(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abcd")
    stage.odd = dict.fromkeys("abcd", ValueError("in the request"))

    with pytest.raises(ValueError, match="in the request"):
        await stage.turn()

    assert stage.calls == ["a", "b"]


@pytest.mark.parametrize(
    "record",
    [
        {"authMethod": "api-key", "accessToken": "key\r\nx-evil: 1"},
        {"id": "../../up"},
        {"id": "x" * 65},
        {"region": "us-east-1.evil.example"},
        {"expiresAt": "soon"},
        {"accessToken": "t\n", "refreshToken": None, "expiresAt": 1},
    ],
    ids=["line break in a key", "path", "long id", "host", "no time", "nothing to renew with"],
)
async def test_a_record_that_cannot_be_used_is_told_and_fails_no_request_of_the_others(
    tmp_path: Path, record: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(tmp_path, "", account_selection_strategy="round-robin")
    stage.add("odd", **record)
    stage.add("b")
    stage.refresh_trouble = [failure("KA-SIGNIN")] if "refreshToken" in record else []

    served = [await stage.turn() for _ in range(4)]

    assert set(served) <= {"b", "odd"}
    assert served.count("b") >= 2
    if "id" in record or "authMethod" in record:
        assert served == ["b"] * 4
        assert "cannot be read" in caplog.text


async def test_accounts_that_do_not_suit_are_the_last_to_be_asked(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abc", account_selection_strategy="round-robin")
    stage.unsuited = {"a", "c"}
    stage.answers = {"a": ["KA-MODEL"] * 9, "b": [None, None, "KA-QUOTA"], "c": ["KA-MODEL"] * 9}

    assert [await stage.turn(), await stage.turn()] == ["b", "b"]
    ended = await stage.failing_turn()
    assert stage.calls == ["b", "b", "b", "a", "c"]
    assert ended.code == "KA-ACCOUNTS-BUSY"
    assert "\n- Account b: What KA-QUOTA says (KA-QUOTA)." in ended.message
    assert ended.sentence().endswith("is tried again 2027-01-16 00:00 UTC, in 16 h. See: kiro-auth accounts")


async def test_a_throttled_account_is_waited_for_when_no_other_has_the_model(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers = {"a": ["KA-THROTTLE"], "b": ["KA-MODEL"]}

    assert await stage.turn() == "a"
    assert stage.calls == ["a", "b", "a"]
    assert stage.slept == [health.FIRST_COOLING]


@pytest.mark.parametrize(
    "code",
    ["KA-THROTTLE", "KA-QUOTA", "KA-OVERAGE", "KA-SUSPENDED", "KA-SIGNIN", "KA-ENTITLEMENT", "KA-PROFILE"],
)
async def test_another_account_takes_over_before_anything_is_waited_for(tmp_path: Path, code: str) -> None:
    stage = Stage(tmp_path, "ab")
    stage.answers["a"] = [code]

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept) == (["a", "b"], [])
    assert await stage.turn() == "b"


async def test_another_account_takes_over_when_a_token_cannot_be_renewed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "a")
    stage.add("b", expiresAt=(NOW + 3 * LASTING) * 1000)
    stage.now += 2 * LASTING
    stage.refresh_trouble = [failure("KA-NETWORK")]

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept, stage.account("a").state) == (["b"], [], "ready")


async def test_with_all_accounts_out_each_reason_and_the_earliest_end_are_told_at_once(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, "abcd")
    stage.store.change_account("d", {"state": "disabled"})
    stage.answers = {
        "a": ["KA-SUSPENDED"],
        "b": [Failure(code="KA-QUOTA", message="Used up.", until=NOW + 900)],
        "c": [Failure(code="KA-QUOTA", message="Used up.", until=NOW + 300)],
    }

    for _ in range(2):
        ended = await stage.failing_turn()
        assert (ended.code, ended.until) == ("KA-ACCOUNTS-BUSY", NOW + 300)
        for words in (
            "Account a: What KA-SUSPENDED says (KA-SUSPENDED).",
            "Account b: Used up (KA-QUOTA).",
            "Account c: Used up (KA-QUOTA).",
        ):
            assert words in ended.message
        assert "Account d" not in ended.message
    assert (sorted(stage.calls), stage.slept) == (["a", "b", "c"], [])


async def test_with_all_accounts_cooling_the_shortest_wait_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", rate_limit_max_retries=0)
    stage.answers = {
        "a": [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=30)],
        "b": [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=12)],
    }

    first, second = await stage.failing_turn(), await stage.failing_turn()

    assert (first.code, first.retry_after) == ("KA-ACCOUNTS-BUSY", 12)
    assert (second.code, second.retry_after) == ("KA-ACCOUNTS-BUSY", 12)
    assert sorted(stage.calls) == ["a", "b"]


async def test_with_all_accounts_cooling_the_one_that_can_serve_soonest_is_waited_for(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abc")
    waits = {"a": 4, "b": 30, "c": 50}
    stage.answers = {
        name: [Failure(code="KA-THROTTLE", message="Slow down.", retry_after=wait)]
        for name, wait in waits.items()
    }

    assert await stage.turn() == "a"
    assert (stage.calls, stage.slept) == (["a", "b", "c", "a"], [4])


async def test_a_request_that_comes_while_all_accounts_cool_waits_for_the_soonest(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    for name, seconds in {"a": 30, "b": 12}.items():
        cooled = health.after(
            stage.account(name), Failure(code="KA-THROTTLE", message="Slow down.", retry_after=seconds), NOW
        )
        stage.store.change_account(name, cooled or {})

    assert await stage.turn() == "b"
    assert (stage.calls, stage.slept) == (["b"], [13])  # with a random second, for those that wait together


@pytest.mark.parametrize(("code", "seconds"), [("KA-THROTTLE", 301), ("KA-ENTITLEMENT", 0), ("KA-QUOTA", 20)])
async def test_what_a_request_cannot_wait_for_is_told_at_once(
    stage: Stage, code: str, seconds: float
) -> None:
    refused = Failure(code=code, message="No.", retry_after=seconds, until=NOW + 100)
    stage.store.change_account("a", health.after(stage.account(), refused, NOW) or {})

    assert (await stage.failing_turn()).code == code
    assert (stage.calls, stage.slept) == ([], [])


async def test_each_of_several_throttled_accounts_has_its_own_retries(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abcde", max_request_iterations=20)
    throttled = Failure(code="KA-THROTTLE", message="Slow down.", retry_after=2)
    stage.answers = {name: [throttled] for name in "abcde"}

    await stage.turn()

    assert (len(stage.calls), stage.slept) == (6, [2])


async def test_a_full_model_is_asked_again_with_the_same_account_whoever_cools(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab", account_selection_strategy="sticky")
    stage.answers = {"a": ["KA-CAPACITY"]}
    throttled = Failure(code="KA-THROTTLE", message="Slow down.", retry_after=1)
    stage.store.change_account("b", health.after(stage.account("b"), throttled, NOW) or {})

    assert await stage.turn() == "a"
    assert stage.calls == ["a", "a"]


async def test_a_request_whose_time_is_over_is_not_begun_anew_with_another_account(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")

    async def late() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt as account:
                stage.calls.append(account.id)
                stage.now += 301
                raise TurnFailed(failure("KA-QUOTA"))

    with pytest.raises(TurnFailed) as raised:
        await late()

    assert (raised.value.failure.code, len(stage.calls)) == ("KA-QUOTA", 1)


async def test_no_request_makes_more_calls_than_the_option_allows(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "abcdefghijkl", max_request_iterations=10)
    stage.answers = {name: ["KA-QUOTA"] for name in "abcdefghijkl"}

    ended = await stage.failing_turn()

    assert (ended.code, "".join(stage.calls)) == ("KA-ACCOUNTS-BUSY", "abcdefghij")
    assert "Account j: " in ended.message
    assert "Account k" not in ended.message


async def test_a_request_keeps_the_policy_that_it_began_with(tmp_path: Path) -> None:
    """A reload counts from the next request on."""
    stage = Stage(tmp_path, "abcd", max_request_iterations=4)

    async def through_a_reload() -> None:
        for attempt in attempts(stage.pool, session=None):
            async with attempt as account:
                stage.calls.append(account.id)
                stage.pool.policy = replace(stage.pool.policy, attempts=1)
                raise TurnFailed(failure("KA-QUOTA"))

    with pytest.raises(TurnFailed):
        await through_a_reload()

    assert stage.calls == ["a", "b", "c", "d"]


async def test_with_all_others_switched_off_the_one_accounts_own_failure_is_told(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "ab")
    stage.store.change_account("b", {"state": "disabled"})
    stage.answers["a"] = ["KA-QUOTA"]

    assert (await stage.failing_turn()).code == "KA-QUOTA"
