"""What people type for a region."""

from __future__ import annotations

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.addresses import REGION
from kiro_auth.failures import WrongValue
from kiro_auth.login.regions import REGIONS, read_region, unknown_region


@pytest.mark.parametrize(
    ("typed", "region"),
    [
        ("eu-west-1", "eu-west-1"),
        ("eu-west-1 ", "eu-west-1"),
        ("EU-WEST-1", "eu-west-1"),
        ("eu west 1", "eu-west-1"),
        ("us_east_1", "us-east-1"),
        ("Frankfurt", "eu-central-1"),
        ("Europe (Frankfurt)", "eu-central-1"),
        ("sao paulo", None),
        ("São Paulo", "sa-east-1"),
        ("xx-new-7", "xx-new-7"),
        ("", None),
        ("eu-west", None),
        ("Atlantis", None),
        ("Virginia", None),
    ],
)
def test_a_region_is_known_by_id_and_by_place(typed: str, region: str | None) -> None:
    if region is None:
        with pytest.raises(WrongValue, match="is not an AWS region"):
            read_region(typed)
    else:
        assert read_region(typed) == region


@given(st.text())
def test_anything_gives_a_region_s_form_or_is_refused(text: str) -> None:
    try:
        region = read_region(text)
    except WrongValue:
        return
    assert REGION.fullmatch(region)


def test_a_region_that_is_nearly_right_gets_those_that_are_written_like_it() -> None:
    with pytest.raises(WrongValue, match=r"Did you mean .*eu-west-1 \(Ireland\)"):
        read_region("eu-west1")
    assert "eu-north-1 (Stockholm)" in (unknown_region("eu-nort-1") or "")
    assert "us-east-1" in (unknown_region("zz-zz-9") or "")
    assert unknown_region("eu-north-1") is None


def test_every_region_that_aws_itself_lists_is_known() -> None:
    session = botocore.session.get_session()
    listed = {
        region
        for partition in ("aws", "aws-us-gov", "aws-cn")
        for region in session.get_available_regions("ec2", partition)
    }

    assert listed <= set(REGIONS)
