"""Whose sign-in at AWS it is: the record says it, else the client's secret, else a note, else Kiro."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.login.tools.organisation import Judged, Noted, judged, login_address

MINE, OTHER = "https://d-90aa11bb22.awsapps.com/start", "https://acme.awsapps.com/start"
PERSONAL = "https://view.awsapps.com/start"
US, EU = "us-east-1", "eu-west-2"


def secret(claims: Any, *, inner: bool = True) -> str:
    """A client secret as AWS makes them; `inner`: the claims are JSON in a text."""
    body = {"serialized": json.dumps(claims)} if inner else claims
    encoded = base64.urlsafe_b64encode(json.dumps(body).encode()).decode()
    return f"eyJhbGciOiJIUzM4NCJ9.{encoded.rstrip('=')}.c2ln"


@pytest.mark.parametrize("inner", [True, False], ids=["in a text", "plain"])
@pytest.mark.parametrize("address", [MINE, f"{MINE}/", f"{MINE}/#/"])
def test_a_client_s_secret_tells_where_people_sign_in(address: str, inner: bool) -> None:
    assert login_address(secret({"initiateLoginUri": address}, inner=inner)) == MINE


@pytest.mark.parametrize(
    "text",
    [None, "", "secret", "a.b", "a.b.c", "a.!!.c", "a.eyJ.c", "\ud800.\ud800.\ud800"]
    + [secret(claims) for claims in ({}, [], 5)]
    + [secret({"initiateLoginUri": value}) for value in (None, 5, "", "http://x", ["https://x"])],
)
def test_a_secret_that_does_not_tell_is_no_trouble(text: str | None) -> None:
    assert login_address(text) is None


@given(st.text() | st.binary().map(lambda raw: f"a.{base64.urlsafe_b64encode(raw).decode()}.c"))
def test_any_text_is_a_secret_or_none(text: str) -> None:
    assert (login_address(text) or "https://").startswith("https://")


NOTED = Noted(OTHER, US)
ORGANISATION, BUILDER_ID = Judged("idc", MINE), Judged("builder-id", PERSONAL)
GUESS = Judged("builder-id", unsure=True)
SLASH = Judged("builder-id", PERSONAL + "/")


@pytest.mark.parametrize(
    ("fields", "claims", "region", "noted", "expected"),
    [
        pytest.param({"start_url": MINE}, {}, US, NOTED, ORGANISATION, id="its start URL"),
        pytest.param({"startUrl": PERSONAL}, {}, US, NOTED, BUILDER_ID, id="Builder ID's start URL"),
        pytest.param(
            {"start_url": f"{PERSONAL}/"}, {}, US, NOTED, Judged("builder-id", f"{PERSONAL}/"), id="a slash"
        ),
        pytest.param({}, {"initiateLoginUri": MINE}, US, NOTED, ORGANISATION, id="the secret before a note"),
        pytest.param({}, {"initiateLoginUri": PERSONAL}, US, NOTED, BUILDER_ID, id="a personal secret"),
        pytest.param({}, {}, EU, Noted(), Judged("idc"), id="a region without Builder IDs"),
        pytest.param({}, {}, EU, Noted(MINE, EU), ORGANISATION, id="and its note"),
        pytest.param({}, {}, EU, NOTED, Judged("idc"), id="another region's note"),
        pytest.param({}, {}, US, NOTED, Judged("idc", OTHER, unsure=True), id="a note that may be old"),
        pytest.param({}, {}, US, Noted(PERSONAL, US), GUESS, id="a personal note"),
        pytest.param({}, {}, US, Noted(has_profile=True), Judged("idc", unsure=True), id="a chosen profile"),
        pytest.param({}, {}, US, Noted(), Judged("builder-id", unsure=True), id="nothing at all"),
        pytest.param(
            {"provider": "BuilderId"}, {}, US, NOTED, Judged("builder-id"), id="personal, says the IDE"
        ),
        pytest.param({"provider": "Enterprise"}, {}, US, Noted(), Judged("idc"), id="the IDE's organisation"),
        pytest.param({"authMethod": "sso"}, {}, US, Noted(), Judged("idc"), id="the original's organisation"),
    ],
)
def test_what_is_certain_counts_before_what_is_only_likely(
    fields: dict[str, Any], claims: dict[str, Any], region: str, noted: Noted, expected: Judged
) -> None:
    assert judged(fields, secret(claims), region, noted) == expected
