"""The policy of retries, as laws over any failures, and as a table of what it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts import retry
from kiro_auth.accounts.account import Account
from kiro_auth.accounts.retry import ANSWER_SHARE, RETRIES, Again, Policy, leaves_time
from kiro_auth.accounts.roster import Roster
from kiro_auth.failures import CATALOGUE, Failure

NOW = 1_800_000_000.0
POLICY = Policy(attempts=100, seconds=300.0, throttle_retries=3, throttle_wait=5.0)
A, B = Account(id="a", label="a"), Account(id="b", label="b")
SLOW = Account(id="b", label="b", state="cooling", state_code="KA-THROTTLE", state_until=(NOW + 7) * 1000)


def after(*failures: Failure, policy: Policy = POLICY, **more: Any) -> Again | None:
    usual: dict[str, Any] = {
        "roster": Roster(accounts=(A, B), now=NOW),
        "others": False,
        "renewed": False,
        "time_left": 300.0,
        "chance": 1.0,
    }
    return retry.after(failures, A, policy, **(usual | more))


def failure(code: str, account: str = "a", wait: float | None = None, replay: float | None = None) -> Failure:
    return Failure(code=code, message="No.", account=account, retry_after=wait, replay=replay)


failures = st.builds(
    failure,
    st.sampled_from(sorted(CATALOGUE)),
    st.sampled_from("ab"),
    st.none() | st.floats(0.1, 400),
    st.none() | st.floats(0, 2),
)
policies = st.builds(
    Policy,
    attempts=st.integers(10, 1000),
    seconds=st.just(300.0),
    throttle_retries=st.integers(0, 10),
    throttle_wait=st.floats(1, 60),
)
situations = st.fixed_dictionaries(
    {
        "roster": st.sampled_from([Roster(accounts=(A, B), now=NOW), Roster(accounts=(A, SLOW), now=NOW)]),
        "others": st.booleans(),
        "renewed": st.booleans(),
        "time_left": st.floats(0, 300),
        "chance": st.floats(0, 1),
    }
)


@given(st.lists(failures, min_size=1, max_size=20), policies, situations)
def test_no_wait_goes_beyond_the_time_that_is_left(
    past: list[Failure], policy: Policy, situation: dict[str, Any]
) -> None:
    again = after(*past, policy=policy, **situation)

    if again is not None and again.wait is not None:
        assert 0 <= again.wait < situation["time_left"]
        assert again.wait <= (1 - ANSWER_SHARE) * situation["time_left"]


@given(st.lists(failures, min_size=1, max_size=1200), policies, situations)
def test_there_are_never_more_attempts_than_the_options_say(
    past: list[Failure], policy: Policy, situation: dict[str, Any]
) -> None:
    if len(past) >= policy.attempts or situation["time_left"] == 0:
        assert after(*past, policy=policy, **situation) is None


@given(st.sampled_from(sorted(CATALOGUE)), policies, st.floats(0, 1))
def test_the_same_failure_of_one_account_is_tried_again_exactly_as_often_as_the_table_says(
    code: str, policy: Policy, chance: float
) -> None:
    past = [failure(code)]
    while after(*past, policy=policy, chance=chance) is not None:
        past.append(failure(code))

    expected = policy.throttle_retries if code == "KA-THROTTLE" else RETRIES.get(code, 0)
    if expected < policy.attempts:
        assert len(past) == expected + 1
    assert len(past) <= policy.attempts


@given(
    policies, st.integers(1, 12), st.sampled_from(["KA-THROTTLE", "KA-CAPACITY", "KA-CUT"]), st.floats(0, 1)
)
def test_waits_double_with_each_try_up_to_a_minute_and_chance_adds_up_to_a_quarter(
    policy: Policy, tries: int, code: str, chance: float
) -> None:
    wait = policy.wait(failure(code), tries, 0.0)

    assert wait <= 60
    assert policy.wait(failure(code), tries + 1, 0.0) == min(2 * wait, 60)
    assert policy.wait(failure(code), tries, chance) == pytest.approx(wait * (1 + chance / 4))


@given(policies)
def test_the_first_wait_after_a_throttle_is_the_option_s(policy: Policy) -> None:
    assert policy.wait(failure("KA-THROTTLE"), 1, 0.0) == policy.throttle_wait


@given(st.sampled_from(sorted(CATALOGUE)), st.floats(0, 5), st.booleans(), policies, st.integers(1, 4))
def test_a_request_that_can_be_mended_is_sent_once_more_by_the_same_account_whatever_others_could(
    code: str, seconds: float, others: bool, policy: Policy, times: int
) -> None:
    past = [failure(code, replay=seconds)] * times
    again = after(*past, policy=policy, others=others)

    if times == 1:
        assert again == Again(seconds, "a")
    elif others:
        assert again == Again()
    elif code not in RETRIES and code != "KA-THROTTLE":
        assert again is None


@given(st.floats(0, 400), st.floats(0, 400))
def test_a_wait_is_begun_only_if_it_leaves_time_for_an_answer(wait: float, left: float) -> None:
    for_the_answer = left - wait
    if leaves_time(wait, left):
        assert for_the_answer >= left / 4 - 0.001
    else:
        assert left == 0 or for_the_answer <= left / 4 + 0.001


@given(st.floats(0.1, 500), st.integers(1, 9), st.floats(0, 1))
def test_a_wait_that_the_service_states_is_kept_to(stated: float, tries: int, chance: float) -> None:
    assert POLICY.wait(failure("KA-THROTTLE", wait=stated), tries, chance) == stated


@pytest.mark.parametrize(
    ("past", "more", "expected"),
    [
        pytest.param([failure("KA-QUOTA")], {"others": True}, Again(), id="another account, at once"),
        pytest.param(
            [failure("KA-TOKEN")], {"renewed": True}, Again(account="a"), id="a renewed token, at once"
        ),
        pytest.param([failure("KA-QUOTA")], {}, None, id="used up, and nobody else"),
        pytest.param([failure("KA-CAPACITY")], {}, Again(6.25, "a"), id="a full model is waited for"),
        pytest.param(
            [failure("KA-QUOTA")],
            {"roster": Roster(accounts=(A, SLOW), now=NOW)},
            Again(7.0, "b"),
            id="the one that was asked to slow down is waited for",
        ),
        pytest.param(
            [failure("KA-THROTTLE", wait=9)],
            {"roster": Roster(accounts=(A, SLOW), now=NOW)},
            Again(7.0, "b"),
            id="the sooner of two",
        ),
        pytest.param(
            [failure("KA-QUOTA")],
            {
                "roster": Roster(accounts=(A, SLOW), now=NOW),
                "policy": Policy(attempts=100, seconds=300, throttle_retries=0, throttle_wait=5),
            },
            None,
            id="throttles are not waited for when the option says so",
        ),
        pytest.param(
            [*[failure("KA-THROTTLE", "b")] * 4, failure("KA-QUOTA")],
            {"roster": Roster(accounts=(A, SLOW), now=NOW)},
            None,
            id="it was asked often enough",
        ),
        pytest.param(
            [failure("KA-CAPACITY")],
            {"roster": Roster(accounts=(A, SLOW), now=NOW)},
            Again(6.25, "a"),
            id="a full model is full for all",
        ),
        pytest.param([failure("KA-CAPACITY")], {"time_left": 8.0}, None, id="a wait that ends too late"),
    ],
)
def test_what_follows(past: list[Failure], more: dict[str, Any], expected: Again | None) -> None:
    assert after(*past, **more) == expected
