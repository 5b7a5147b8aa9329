"""What people type for the start URL of their organisation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.addresses import acceptable_url
from kiro_auth.failures import WrongValue
from kiro_auth.kinds import BUILDER_ID_START_URL
from kiro_auth.login.start_url import EXAMPLE, read_start_url

D = "https://d-1234567890.awsapps.com/start"


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("d-1234567890", D),
        ("D-1234567890", D),
        ("d-1234567890/start", D),
        ("d-1234567890.awsapps.com", D),
        ("d-1234567890.awsapps.com/start", D),
        ("http://d-1234567890.awsapps.com/start", D),
        ("HTTPS://D-1234567890.AWSAPPS.COM/START", D),
        ("https://d-1234567890.awsapps.com", D),
        ("https://d-1234567890.awsapps.com/", D),
        (f' "{D}" ', D),
        (f"<{D}>", D),
        ("acme", "https://acme.awsapps.com/start"),
        ("Acme-Inc", "https://acme-inc.awsapps.com/start"),
        ("ssoins-7223f.portal.us-east-1.app.aws", "https://ssoins-7223f.portal.us-east-1.app.aws"),
    ],
)
def test_what_can_be_meant_in_one_way_is_understood_and_shown(typed: str, url: str) -> None:
    start_url = read_start_url(typed)

    assert (start_url.kind, start_url.url) == ("idc", url)
    assert start_url.notice == f"The start URL is taken as {url}."


@pytest.mark.parametrize(
    "url",
    [
        D,
        f"{D}/",
        f"{D}/#/",
        f"{D}#/device?user_code=A",
        "https://start.us-gov-home.awsapps.com/directory/d-1234567890",
        "https://identitycenter.amazonaws.com/ssoins-7223f",
    ],
)
def test_a_url_that_is_whole_is_passed_on_as_it_is(url: str) -> None:
    start_url = read_start_url(url)

    assert (start_url.kind, start_url.url, start_url.notice) == ("idc", url, None)


@pytest.mark.parametrize("url", ["https://sso.example.com/start", "https://127.0.0.1:8000/start"])
def test_a_url_of_another_host_is_tried_but_not_without_a_word(url: str) -> None:
    start_url = read_start_url(url)

    assert start_url.url == url
    assert start_url.notice is not None
    assert EXAMPLE in start_url.notice


@pytest.mark.parametrize("typed", ["builder id", "AWS Builder ID", "https://view.awsapps.com/start/", "view"])
def test_the_address_of_builder_ids_is_no_organisation_s(typed: str) -> None:
    start_url = read_start_url(typed)

    assert (start_url.kind, start_url.url) == ("builder-id", BUILDER_ID_START_URL)
    assert start_url.notice == f"{typed} means AWS Builder ID, so that is used."


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("my company", "white space"),
        ("ada@example.com", "e-mail address"),
        ("https://ada@d-1234567890.awsapps.com/start", "e-mail address"),
        ("eu-west-1", "is a region"),
        ("123456789012", "is no start URL"),
        ("example.com", "no start URL of AWS"),
        ("https://device.sso.us-east-1.amazonaws.com/?user_code=A", "another page of AWS"),
        ("https://eu-west-1.console.aws.amazon.com/", "another page of AWS"),
        ("ftp://d-1234567890.awsapps.com", "ftp://"),
        ("https://[broken/#/", "is no start URL"),
        ("https://", "is no start URL"),
        ("//", "is no start URL"),
        ("acme/start/x", "is no start URL"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_is_expected(typed: str, words: str) -> None:
    with pytest.raises(WrongValue, match=words) as raised:
        read_start_url(typed)

    assert raised.value.failure.code == "KA-CONFIG"
    assert EXAMPLE in (raised.value.failure.next_step or "")


@given(st.text() | st.text(st.sampled_from("htps:/[]#? .é@1-d")))
def test_anything_gives_an_acceptable_url_or_is_refused(text: str) -> None:
    try:
        start_url = read_start_url(text)
    except WrongValue:
        return

    assert acceptable_url(start_url.url)
    assert read_start_url(start_url.url).url == start_url.url
