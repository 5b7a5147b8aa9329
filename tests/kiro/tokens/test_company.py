"""Which hosts are asked for the tokens of a company sign-in; the address comes from a foreign file."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.tokens.company import Provider, check

GOOD = [
    "https://login.microsoftonline.com/t/oauth2/v2.0/token",
    "https://login.microsoftonline.us:443/t",
    "https://login.partner.microsoftonline.cn/t",
    "https://company.okta.com/oauth2/v1/token",
    "https://a.b.oktapreview.com/t",
]
BAD = [
    "",
    "http://login.microsoftonline.com/t",
    "https://login.microsoftonline.com:8443/t",
    "https://login.microsoftonline.com.evil.example/t",
    "https://evil-login.microsoftonline.com/t",
    "https://login.microsoftonline.com./t",
    "https://evilokta.com/t",
    "https://okta.com/t",
    "https://user@login.microsoftonline.com/t",
    "https://login.microsoftonline.com\\@evil.example/t",
    "https://evil.example\\.okta.com/t",
    "https://127.0.0.1/t",
    "https://[::1]/t",
    "https://xn--okta-1.okta.com/t",
    "https://login.microsoftonline.com\n/t",
    "https://login.microsoftonline.com:port/t",
    "ftp://company.okta.com/t",
]


@pytest.mark.parametrize("url", GOOD)
def test_known_providers_are_asked(url: str) -> None:
    check(Provider(token_endpoint=url))


@pytest.mark.parametrize("url", BAD)
def test_nothing_else_is(url: str) -> None:
    with pytest.raises(TurnFailed) as refused:
        check(Provider(token_endpoint=url))

    assert refused.value.failure.code == "KA-CONFIG"
    assert "endpoints.external_idp" in refused.value.failure.sentence()


def test_the_issuer_must_be_at_the_same_host() -> None:
    here = Provider(token_endpoint=GOOD[0], issuer_url="https://login.microsoftonline.com/t/v2.0")
    check(here)

    with pytest.raises(TurnFailed, match=r"the issuer is company\.okta\.com"):
        check(Provider(token_endpoint=GOOD[0], issuer_url="https://company.okta.com"))


def test_an_address_of_the_user_s_own_configuration_counts_whole() -> None:
    own = [urlsplit("https://sso.company.example/x"), urlsplit("http://127.0.0.1:9000")]
    check(Provider(token_endpoint="https://sso.company.example/token"), own)
    check(Provider(token_endpoint="http://127.0.0.1:9000/t/token"), own)

    for url in ("http://sso.company.example/token", "http://127.0.0.1:9001/t", "https://127.0.0.1:9000/t"):
        with pytest.raises(TurnFailed):
            check(Provider(token_endpoint=url), own)


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda text: f"https://{text}.okta.com/t"))
def test_whatever_passes_leads_to_a_known_provider(url: str) -> None:
    try:
        check(Provider(token_endpoint=url))
    except TurnFailed:
        return
    parts = urlsplit(url)
    assert parts.scheme == "https"
    assert (parts.hostname or "").endswith((".okta.com", ".microsoftonline.com"))
    assert parts.username is None
