"""What is thought of an account."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts import health
from kiro_auth.accounts.account import Account, account_of
from kiro_auth.failures import CATALOGUE, Cause, Failure
from kiro_auth.store.protocol import Record

NOW = 1_800_000_000.0
DAY = 86400
CODES = st.sampled_from(sorted(CATALOGUE))
STATES = st.sampled_from(["ready", "cooling", "quota", "suspended", "sign-in", "disabled"])


def stored(account: Account, fields: Record) -> Account:
    """The account as it is read after these fields were stored."""
    record = {"id": account.id, "label": account.label, "state": account.state} | fields
    return account_of({name: value for name, value in record.items() if value is not None})


def failed(code: str, **more: float) -> Failure:
    return Failure(code=code, message=f"What {code} says.", **more)


FRESH = Account(id="a" * 32, label="Builder ID 1")


@given(CODES)
def test_only_failures_of_the_account_change_what_is_thought_of_it(code: str) -> None:
    fields = health.after(FRESH, failed(code), NOW)

    assert fields is None or CATALOGUE[code].cause is Cause.ACCOUNT


@pytest.mark.parametrize(
    ("code", "state", "seconds"),
    [
        ("KA-THROTTLE", "cooling", 8),
        ("KA-ENTITLEMENT", "cooling", 600),
        ("KA-PROFILE", "cooling", 600),
        ("KA-KMS", "cooling", 600),
        ("KA-QUOTA", "quota", DAY - NOW % DAY),
        ("KA-OVERAGE", "quota", DAY - NOW % DAY),
        ("KA-SUSPENDED", "suspended", None),
        ("KA-SIGNIN", "sign-in", None),
        ("KA-TOKEN", "sign-in", None),
    ],
)
def test_the_state_after_a_failure_and_how_long_it_lasts(
    code: str, state: str, seconds: float | None
) -> None:
    fields = health.after(FRESH, failed(code), NOW) or {}
    account = stored(FRESH, fields)

    assert (account.state, account.state_code, account.state_reason) == (state, code, f"What {code} says.")
    assert fields["stateSince"] == NOW * 1000
    assert account.state_until == (None if seconds is None else (NOW + seconds) * 1000)
    assert not health.usable(account, NOW)
    assert health.usable(account, NOW + 10 * DAY) is (seconds is not None)


@given(st.integers(0, 5000))
def test_cooling_doubles_from_8_seconds_to_a_minute(streak: int) -> None:
    fields = health.after(FRESH, failed("KA-THROTTLE"), NOW, streak=streak) or {}

    assert fields["stateUntil"] / 1000 - NOW == min(8 * 2 ** min(streak, 10), 60)


def test_a_stated_wait_counts_over_ours() -> None:
    fields = health.after(FRESH, failed("KA-THROTTLE", retry_after=300), NOW, streak=9) or {}

    assert fields["stateUntil"] == (NOW + 300) * 1000


@pytest.mark.parametrize(
    ("until", "reset", "expected"),
    [
        (NOW + 50, None, NOW + 50),
        (None, NOW + 9 * DAY, NOW + 9 * DAY),
        (NOW + 50, NOW + 9 * DAY, NOW + 50),
        (None, NOW - 1, (NOW // DAY + 1) * DAY),
    ],
    ids=["as the service says", "as the usage says", "the earlier", "a reset that has passed"],
)
def test_a_used_up_plan_waits_for_its_reset(
    until: float | None, reset: float | None, expected: float
) -> None:
    failure = Failure(code="KA-QUOTA", message="Used up.", until=until)

    assert (health.after(FRESH, failure, NOW, reset=reset) or {})["stateUntil"] == expected * 1000


@given(st.sampled_from(["suspended", "sign-in", "disabled"]), CODES)
def test_what_only_a_person_can_end_is_not_changed_by_a_late_answer(state: str, code: str) -> None:
    assert health.after(Account(id="a", state=state), failed(code), NOW) is None


@given(STATES, st.none() | st.floats(0, 4e12), st.floats(0, 4e9), st.floats(0, 4e9))
def test_an_account_that_became_usable_stays_so(
    state: str, until: float | None, now: float, later: float
) -> None:
    account = Account(id="a", state=state, state_until=until)

    if health.usable(account, now):
        assert health.usable(account, now + later)


@given(CODES)
def test_the_fields_of_a_working_account_undo_all_others(code: str) -> None:
    fields = health.after(FRESH, failed(code), NOW)

    if fields is not None:
        assert set(health.READY) | {"stateSince"} == set(fields)
        assert health.usable(stored(FRESH, fields | health.READY), NOW)


EVENTS = st.sampled_from(sorted(get_args(health.Event)))


@given(EVENTS, STATES)
def test_an_event_makes_an_account_ready_or_leaves_it_as_it_is(event: health.Event, state: str) -> None:
    fields = health.ready_after(event, state, NOW)

    if state in health.ENDED_BY[event]:
        assert fields == health.READY | {"stateSince": NOW * 1000}
    else:
        assert fields is None


@pytest.mark.parametrize(
    ("state", "events"),
    [
        ("ready", {"signed in", "verified", "enabled"}),
        ("cooling", {"answered", "signed in", "verified", "enabled"}),
        ("quota", {"answered", "signed in", "verified", "enabled"}),
        ("suspended", {"verified", "enabled"}),
        ("sign-in", {"renewed", "signed in", "verified", "enabled"}),
        ("disabled", {"enabled"}),
        ("of a later version", {"signed in", "verified", "enabled"}),
    ],
)
def test_what_ends_each_state(state: str, events: set[str]) -> None:
    """No answer, no sign-in and no check switches an account on that its owner switched off."""
    ending = {event for event in get_args(health.Event) if health.ready_after(event, state, NOW)}

    assert ending == events


def test_an_account_without_a_stored_state_is_ready() -> None:
    assert health.ready_after("answered", None, NOW) is None
    assert health.ready_after("signed in", None, NOW, reason="No profile.") == health.READY | {
        "stateReason": "No profile.",
        "stateSince": NOW * 1000,
    }


@given(STATES, CODES)
def test_switching_off_and_on_leaves_nothing_of_an_earlier_state(state: str, code: str) -> None:
    earlier = health.after(Account(id="a", state=state), failed(code), NOW) or {}
    off = stored(Account(id="a", state=state), earlier | health.disabled(NOW))

    assert (off.state, off.state_code, off.state_until) == ("disabled", None, None)
    assert not health.usable(off, NOW + 10 * DAY)
    assert health.usable(stored(off, health.ready_after("enabled", off.state, NOW) or {}), NOW)


def test_the_original_leaves_a_switched_off_account_alone() -> None:
    """It takes an unhealthy account again only when its `recoveryTime` has come."""
    fields = health.disabled(NOW)

    assert (fields["isHealthy"], fields["recoveryTime"]) == (False, None)
    assert fields["unhealthyReason"] == "switched off by you"


def test_the_original_sees_the_same_health() -> None:
    """It leaves an unhealthy account alone until `recoveryTime`, a limited one until `rateLimitResetTime`."""
    quota = health.after(FRESH, failed("KA-QUOTA", until=NOW + 60), NOW) or {}
    cooling = health.after(FRESH, failed("KA-THROTTLE"), NOW) or {}

    assert (quota["isHealthy"], quota["recoveryTime"]) == (False, (NOW + 60) * 1000)
    assert (cooling["isHealthy"], cooling["rateLimitResetTime"]) == (True, (NOW + 8) * 1000)
    assert (health.READY["isHealthy"], health.READY["rateLimitResetTime"]) == (True, 0)


def test_an_unhealthy_account_of_the_original_is_looked_at_again() -> None:
    """It had no time of recovery in its file and would stay dead for ever."""
    account = account_of({"id": "a", "isHealthy": False, "unhealthyReason": "Quota"})

    assert health.usable(account, NOW)


@given(CODES)
def test_a_state_gives_back_the_failure_that_led_to_it(code: str) -> None:
    fields = health.after(FRESH, failed(code), NOW)

    if fields is not None:
        account = stored(FRESH, fields)
        failure = health.failure_of(account, NOW)
        assert (failure.code, failure.message) == (code, f"What {code} says.")
        ends = account.state_until / 1000 if account.state_until else None
        assert (failure.until, failure.next_try) == (
            (None, ends) if account.state == "quota" else (ends, None)
        )
        assert failure.account == "Builder ID 1"
        assert failure.next_step


@pytest.mark.parametrize(
    ("state", "code", "next_step"),
    [
        ("cooling", "KA-THROTTLE", "Just wait"),
        ("quota", "KA-QUOTA", "Wait for the reset"),
        ("suspended", "KA-SUSPENDED", "https://app.kiro.dev"),
        ("sign-in", "KA-SIGNIN", "kiro-auth login --builder-id"),
        ("disabled", "KA-ACCOUNTS-BUSY", "kiro-auth accounts enable builder-id-aaaaaa"),
        ("odd", "KA-ACCOUNTS-BUSY", "kiro-auth accounts"),
    ],
)
def test_every_state_has_a_reason_and_a_next_step(state: str, code: str, next_step: str) -> None:
    """Also when the record does not say what led to it, or says what led to an earlier state."""
    for earlier in (None, "KA-PROFILE" if state != "cooling" else "KA-QUOTA", "nonsense"):
        failure = health.failure_of(Account(id="a" * 32, state=state, state_code=earlier), NOW)
        assert failure.code == code
        assert failure.message
        assert next_step in (failure.next_step or "")


@pytest.mark.parametrize(
    ("record", "command"),
    [
        ({}, "kiro-auth login --builder-id"),
        (
            {"authMethod": "sso", "ssoStartUrl": "https://d-1.awsapps.com/start", "region": "eu-north-1"},
            "kiro-auth login --start-url https://d-1.awsapps.com/start --region eu-north-1",
        ),
        ({"authMethod": "sso"}, "kiro-auth login"),
        ({"authMethod": "social"}, "kiro-auth login"),
    ],
    ids=["Builder ID", "organisation", "organisation without its URL", "social"],
)
def test_the_command_to_sign_in_again_is_exact(record: Record, command: str) -> None:
    assert health.sign_in_command(account_of({"id": "a", **record})) == command
