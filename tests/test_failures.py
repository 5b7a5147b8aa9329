"""Failures as values."""

from __future__ import annotations

import pytest

from kiro_auth.failures import (
    Cause,
    ConfigFailed,
    Failure,
    KiroAuthError,
    SignInFailed,
    StoreFailed,
    TurnFailed,
)


def test_a_malformed_body_an_overflow_and_a_full_model_are_nobodys_account() -> None:
    for code in ("KA-BODY", "KA-OVERFLOW", "KA-CONVERSATION", "KA-MODEL", "KA-CAPACITY", "KA-CUT"):
        assert Failure(code=code, message="x.").cause is not Cause.ACCOUNT


def test_a_sentence_names_cause_end_and_next_step() -> None:
    failure = Failure(
        code="KA-QUOTA", message="The plan is used up. ", until=0.0, next_step="kiro-auth usage"
    )
    used_up = "The plan is used up (KA-QUOTA). Available again 1970-01-01 00:00 UTC. kiro-auth usage"
    assert failure.sentence() == used_up
    assert Failure(code="KA-QUOTA", message="Used up.").sentence() == "Used up (KA-QUOTA)."


@pytest.mark.parametrize("until", [1e12, 1e200, -1e15, float("inf"), float("nan")])
def test_a_time_that_no_calendar_has_ends_no_sentence(until: float) -> None:
    sentence = Failure(code="KA-QUOTA", message="Used up.", until=until, next_step="Wait.").sentence()

    assert sentence == "Used up (KA-QUOTA). Available again a time that no calendar has. Wait."


@pytest.mark.parametrize("kind", [TurnFailed, SignInFailed, StoreFailed, ConfigFailed])
def test_every_exception_is_caught_by_the_root_and_says_its_failure(kind: type[KiroAuthError]) -> None:
    failure = Failure(code="KA-CONFIG", message="port must be a number.", next_step="Correct it.")
    with pytest.raises(KiroAuthError, match=r"port must be a number \(KA-CONFIG\)\. Correct it\.") as caught:
        raise kind(failure)
    assert caught.value.failure is failure


@pytest.mark.parametrize(
    ("message", "heading"),
    [
        ("Used up.", "Used up (KA-QUOTA)."),
        ("Nobody serves:\n- a: no.\n", "Nobody serves (KA-QUOTA):\n- a: no."),
        ("No word ends it", "No word ends it (KA-QUOTA)"),
        ("Used up. It said: No more.", "Used up (KA-QUOTA). It said: No more."),
    ],
)
def test_the_code_stands_behind_our_own_first_words_so_that_a_command_after_it_can_be_copied(
    message: str, heading: str
) -> None:
    assert Failure(code="KA-QUOTA", message=message).heading == heading
