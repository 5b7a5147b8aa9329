"""The account that a person means: found by any part that fits no other, and never another one in silence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.apart import told_apart
from kiro_auth.accounts.find import SHORTEST_ID, check_enabled, find, find_any
from kiro_auth.accounts.names import folded, masked
from kiro_auth.accounts.roster import readable
from kiro_auth.failures import ConfigFailed, Failure
from support.naming import accounts

ORGANISATION = "https://d-1234567890.awsapps.com/start"
AMONG = told_apart(
    [
        Account(id="aaaaaaaa" + "0" * 24, real_email="ada@example.com"),
        Account(id="bbbbbbbb" + "0" * 24, real_email="grace@example.org", label="Work"),
        Account(id="cccccccc" + "0" * 24, auth_method="sso", sso_start_url=ORGANISATION),
        Account(id="dddddddd" + "0" * 24, label="Work 2", state="disabled"),
    ]
)
ADA, WORK, AT_D, WORK_2 = AMONG


def refused(among: Any, typed: str) -> Failure:
    with pytest.raises(ConfigFailed) as raised:
        find(among, typed)
    return raised.value.failure


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        pytest.param("a***@example.com", ADA, id="name"),
        pytest.param("A***@EXAMPLE.com", ADA, id="in any case"),
        pytest.param("ada@example.com", ADA, id="e-mail"),
        pytest.param(" Ada@Example.Com ", ADA, id="e-mail in any case"),
        pytest.param("ada", ADA, id="the beginning of the e-mail"),
        pytest.param("example.com", ADA, id="what is seen of the e-mail"),
        pytest.param("example.org", WORK, id="e-mail behind a label"),
        pytest.param("g***@example.org", WORK, id="masked e-mail behind a label"),
        pytest.param("work", WORK, id="the name of one, a part of another"),
        pytest.param("work  2", WORK_2, id="white space"),
        pytest.param("d-1234567890", AT_D, id="organisation"),
        pytest.param("d-123", AT_D, id="part of the organisation"),
        pytest.param("cccccc", AT_D, id="start of the id"),
        pytest.param("CCCCCCCC" + "0" * 24, AT_D, id="id"),
    ],
)
def test_an_account_is_found_by_what_its_owner_knows_of_it(typed: str, meant: Account) -> None:
    assert find(AMONG, typed) == meant


@pytest.mark.parametrize("typed", ["", " ", "nobody", "ccccc", "000000", "da@example", "@example.com@"])
def test_what_fits_none_is_refused_with_all_the_names(typed: str) -> None:
    failure = refused(AMONG, typed)

    assert failure.code == "KA-ACCOUNT"
    assert failure.next_step == "Your accounts: a***@example.com, Work, d-1234567890, Work 2."


@pytest.mark.parametrize(
    ("typed", "names"),
    [("wor", "Work, Work 2"), ("example", "a***@example.com, Work"), ("***", "a***@example.com, Work")],
)
def test_what_fits_several_is_refused_with_their_names(typed: str, names: str) -> None:
    assert refused(AMONG, typed).message == f"{typed!r} fits more than one account: {names}."


def test_a_start_of_an_id_that_is_too_short_is_told_as_such() -> None:
    assert "The start of an id needs 6 characters or more." in refused(AMONG, "ccccc").message
    assert "The start of an id" not in refused(AMONG, "nobody").message


def test_the_same_e_mail_twice_is_refused_with_both_names() -> None:
    two = told_apart([ADA, Account(id="e" * 32, real_email="ada@example.com", auth_method="social")])

    assert "a***@example.com (Builder ID), a***@example.com (Google or GitHub)" in refused(two, "ada").message
    assert find(two, "builder id") == two[0]
    assert find(two, "google") == two[1]


def test_no_e_mail_that_was_typed_is_said_again() -> None:
    told = refused(AMONG, "me nobody@example.net").sentence()

    assert "'me n***@example.net'" in told
    assert "nobody" not in told


def test_without_accounts_the_way_to_one_is_told() -> None:
    assert refused([], "ada").code == "KA-NO-ACCOUNT"


def test_for_a_request_a_disabled_one_is_refused_with_the_way_back() -> None:
    with pytest.raises(ConfigFailed) as raised:
        check_enabled(WORK_2)

    assert raised.value.failure.sentence() == (
        "The account Work 2 is disabled (KA-ACCOUNT). To use it again: kiro-auth accounts enable 'Work 2'"
    )
    check_enabled(ADA)


@pytest.mark.parametrize(
    "typed", ["ada@example.com", "A***@example.com", "d-1234567890", "work", "a" * 8 + "0" * 24]
)
def test_where_no_parts_count_what_is_whole_does(typed: str) -> None:
    assert find(AMONG, typed, parts=False) == find(AMONG, typed)


@pytest.mark.parametrize("typed", ["ada", "d-123", "wor", "aaaaaaaa", "example.com"])
def test_where_no_parts_count_a_part_finds_nothing(typed: str) -> None:
    with pytest.raises(ConfigFailed, match="No account is called"):
        find(AMONG, typed, parts=False)


@given(accounts)
def test_no_name_comes_to_mean_another_account_when_its_own_is_gone(among: list[Account]) -> None:
    for gone in told_apart(among):
        left = told_apart([account for account in among if account.id != gone.id])
        others = [account for account in left if _is_called(gone.name, account)]
        try:
            found = find(left, gone.name, parts=False)
        except ConfigFailed:
            continue
        assert found in others


def _is_called(name: str, account: Account) -> bool:
    """Whether the account was called so before, but for what told it from the other."""
    whole = (account.label or "", masked(account.known_email), account.organisation, account.id)
    return folded(name) in map(folded, whole)


@given(accounts)
def test_every_account_is_found_by_its_name_and_by_its_id(among: list[Account]) -> None:
    named = told_apart(among)

    for account in named:
        assert find(named, account.name) == account
        assert find(named, account.id).id in (account.id, *_called(named, account.id))


def _called(among: tuple[Account, ...], typed: str) -> list[str]:
    """A label may be another account's id: names count first."""
    return [account.id for account in among if account.name == typed]


def test_the_id_of_one_that_can_be_read_and_of_one_that_cannot_means_neither() -> None:
    _, damaged = readable([{"id": "work-1", "label": 5}, {"id": "work-10", "label": 5}])
    among = [Account(id="work-1", label="work")]

    for typed in ("work-1", "work"):
        with pytest.raises(ConfigFailed, match="Two entries have this id"):
            find_any(among, damaged, typed)
    assert find_any(among, damaged, "work-10") == damaged[1]


def test_the_way_out_that_is_named_takes_away_the_damaged_one_alone() -> None:
    """However long its id is, and whichever account's id it begins like."""
    ids = ["kiro-account-10", "kiro-account-1" + "0" * 50]
    accounts, damaged = readable([{"id": "kiro-account-1"}, *({"id": id_, "label": 5} for id_ in ids)])
    assert len(accounts) == 1

    for each in damaged:
        named = str(each.failure.next_step).rpartition(" ")[2]
        assert find_any(accounts, damaged, named) == each


@given(accounts, st.text(max_size=8) | st.sampled_from(["work", "a", "@", "1" * 6, "ada@example.com", "D-1"]))
def test_whatever_is_typed_finds_one_or_is_refused_by_name(among: list[Account], typed: str) -> None:
    named = told_apart(among)
    try:
        outcome: Account | str = find(named, typed)
    except ConfigFailed as error:
        outcome = error.failure.code

    if isinstance(outcome, str):
        assert outcome == ("KA-ACCOUNT" if named else "KA-NO-ACCOUNT")
    else:
        assert outcome in named
        assert typed.strip()


@given(st.text("1af", min_size=32, max_size=32), st.integers(0, 32))
def test_the_start_of_an_id_finds_its_account_once_it_is_long_enough(id_: str, length: int) -> None:
    account = Account(id=id_, label="x")

    if length >= SHORTEST_ID:
        assert find([account], id_[:length]) == account
    else:
        assert refused([account], id_[:length]).code == "KA-ACCOUNT"
