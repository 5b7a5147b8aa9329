"""What accounts are called: recognised by their owner, one line, each its own, never a whole e-mail."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.apart import told_apart
from kiro_auth.accounts.names import folded, without_emails
from kiro_auth.accounts.roster import readable
from support.naming import accounts

ID = "3f2a91" + "0" * 26
AT = {"auth_method": "sso"}
AT_WORK = "https://d-1234567890.awsapps.com/start"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        pytest.param({"label": "Work", "real_email": "ada@example.com"}, "Work", id="label"),
        pytest.param({"label": "  ", "real_email": "ada@example.com"}, "a***@example.com", id="blank"),
        pytest.param({"label": "a\nb", "email": "ada@example.com"}, "a***@example.com", id="two lines"),
        pytest.param(
            {"real_email": "ada@example.com", "email": "x@example.org"}, "a***@example.com", id="Kiro's"
        ),
        pytest.param({"email": "ada@example.com"}, "a***@example.com", id="another program's e-mail"),
        pytest.param(
            {**AT, "sso_start_url": AT_WORK, "real_email": "ada@example.com"},
            "a***@example.com", id="e-mail before organisation",
        ),
        pytest.param(
            {**AT, "sso_start_url": AT_WORK, "email": "sso-user@aws.amazon.com"},
            "d-1234567890", id="organisation",
        ),
        pytest.param({**AT, "sso_start_url": "https://acme.awsapps.com/start/#/"}, "acme", id="#"),
        pytest.param(
            {**AT, "sso_start_url": "https://identitycenter.amazonaws.com/ssoins-0123456789"},
            "ssoins-0123456789", id="instance",
        ),
        pytest.param(
            {**AT, "sso_start_url": "https://sso.acme.example/start"}, "sso.acme.example",
            id="a host of its own",
        ),
        pytest.param({**AT, "sso_start_url": "nonsense"}, "idc-3f2a91", id="no URL"),
        pytest.param({**AT, "sso_start_url": "https://["}, "idc-3f2a91", id="a broken URL"),
        pytest.param({"email": "builder-id@aws.amazon.com"}, "builder-id-3f2a91", id="placeholder"),
        pytest.param(
            {"email": "kiro-cli-placeholder+0123456789abcdef@awsapps.local"}, "builder-id-3f2a91",
            id="placeholder of later versions",
        ),
        pytest.param({"auth_method": "api-key"}, "api-key-3f2a91", id="key"),
        pytest.param({"label": "me (ada@example.com)"}, "me (a***@example.com)", id="label with an e-mail"),
        pytest.param({"label": "team@home"}, "team@home", id="label with an @"),
        pytest.param({"email": "a@b\nc.example"}, "builder-id-3f2a91", id="e-mail of two lines"),
    ],
)  # fmt: skip
def test_a_name_is_the_label_else_the_e_mail_else_the_organisation_else_kind_and_id(
    fields: dict[str, Any], name: str
) -> None:
    assert Account(id=ID, **fields).name == name


def named(*fields: dict[str, Any]) -> list[str]:
    made = [Account(**{"id": f"{number}" * 32, **each}) for number, each in enumerate(fields, 1)]
    return [account.name for account in told_apart(made)]


ADA = {"real_email": "ada@example.com"}


def test_one_person_with_two_ways_to_sign_in_is_told_apart_by_them() -> None:
    assert named(ADA, {**ADA, "auth_method": "sso", "sso_start_url": AT_WORK}) == [
        "a***@example.com (Builder ID)",
        "a***@example.com (d-1234567890)",
    ]


def test_an_organisation_s_accounts_without_e_mails_are_told_apart_by_their_regions() -> None:
    of_it = {**AT, "sso_start_url": AT_WORK}

    assert named({**of_it, "region": "eu-central-1"}, of_it) == [
        "d-1234567890 (eu-central-1)",
        "d-1234567890 (us-east-1)",
    ]


def test_what_nothing_else_tells_apart_has_the_start_of_its_id() -> None:
    amy = {"real_email": "amy@example.com"}

    assert named(ADA, amy, {"real_email": "grace@example.com"}) == [
        "a***@example.com (111111)",
        "a***@example.com (222222)",
        "g***@example.com",
    ]


def test_labels_that_differ_in_case_alone_are_told_apart_too() -> None:
    assert named({"label": "Work"}, {"label": "work"}) == ["Work (111111)", "work (222222)"]


@given(accounts)
def test_no_two_accounts_have_names_that_people_take_for_one(among: list[Account]) -> None:
    names = [account.name for account in told_apart(among)]

    assert len({folded(name) for name in names}) == len(among)


@given(accounts)
def test_a_name_is_one_line_and_holds_no_whole_e_mail(among: list[Account]) -> None:
    for account in told_apart(among):
        assert account.name.strip()
        assert account.name.isprintable()
        assert "ada@" not in account.name
        assert "amy@" not in account.name


@given(accounts, st.randoms(use_true_random=False))
def test_names_do_not_depend_on_the_order(among: list[Account], chance: random.Random) -> None:
    before = {account.id: account.name for account in told_apart(among)}
    mixed = list(among)
    chance.shuffle(mixed)

    assert {account.id: account.name for account in told_apart(mixed)} == before


@given(accounts)
def test_naming_changes_nothing_else_and_twice_is_as_good_as_once(among: list[Account]) -> None:
    once = told_apart(among)

    assert told_apart(once) == once
    assert [account.id for account in once] == [account.id for account in among]


def test_even_two_records_of_one_id_have_two_names() -> None:
    twins, _ = readable([{"id": ID, "email": "ada@example.com"}] * 2)

    assert len({account.name for account in twins}) == 2


@given(st.text())
def test_what_is_folded_once_stays_so(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(
    st.text(),
    st.sampled_from(["ada@example.com", "ada.l+kiro@mail.example.co.uk", "ådä@exämple.com"]),
    st.text(),
)
def test_an_e_mail_is_masked_wherever_it_stands(before: str, email: str, after: str) -> None:
    assert email not in without_emails(f"{before} {email} {after}")


@given(st.text())
def test_masking_twice_is_as_good_as_once(text: str) -> None:
    assert without_emails(without_emails(text)) == without_emails(text)


def test_an_account_that_changed_has_the_name_the_kind_and_the_region_of_now() -> None:
    before = Account(id="a1b2c3d4", label="work", auth_method="idc")
    known = before.name, before.kind, before.service_region
    after = replace(before, label="home", auth_method="social", profile_region="eu-central-1")

    assert known == ("work", "builder-id", "us-east-1")
    assert (after.name, after.kind, after.service_region) == ("home", "social", "eu-central-1")
