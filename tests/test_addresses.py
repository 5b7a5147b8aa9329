"""Which address is this machine, which may be sent a secret, what is an AWS region."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.addresses import acceptable_url, checked_region, is_loopback, partition_of
from kiro_auth.failures import ConfigFailed

LOOPBACK = ["127.0.0.1", "127.1.2.3", "127.255.255.254", "::1", "::ffff:127.0.0.1", "localhost", "LocalHost"]
ELSEWHERE = [
    "", "127", "127.1", "127.999.1.1", "127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example",
    "0.0.0.0", "::", "10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "[::1]", "2130706433", "example.org",
]  # fmt: skip


@pytest.mark.parametrize("host", LOOPBACK)
def test_names_and_addresses_that_can_only_mean_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_what_only_looks_like_this_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@given(st.ip_addresses(v=4))
def test_of_all_ipv4_addresses_those_of_the_block_of_127_are_loopback(address: ipaddress.IPv4Address) -> None:
    assert is_loopback(str(address)) == (address in ipaddress.ip_network("127.0.0.0/8"))


@given(st.text())
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    assert is_loopback(text) in (True, False)
    assert acceptable_url(text) in (True, False)
    assert acceptable_url(f"http://{text}/") in (True, False)


@pytest.mark.parametrize(
    "url", ["https://example.org/a?b", "http://localhost:1", "http://127.0.0.1", "http://[::1]:8"]
)
def test_secrets_may_travel_by_https_or_within_this_machine(url: str) -> None:
    assert acceptable_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org", "http://127.evil.example", "http://127.999.1.1", "ftp://127.0.0.1", "https://",
        "https://user@example.org", "https://:password@example.org", "http://[::1", "",
        "https://example.org/\r\nX: y", "https://exam\tple.org", "https://example.org/a b", "https://a\u202e.example",
    ],
)  # fmt: skip
def test_secrets_travel_nowhere_else(url: str) -> None:
    assert not acceptable_url(url)


@pytest.mark.parametrize("region", ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1"])
def test_a_region_is_what_has_the_form_of_one(region: str) -> None:
    assert checked_region(region) == region


@pytest.mark.parametrize("text", ["", "us-east-1.evil.example", "us-east-1\n", "US-EAST-1", "us-east"])
def test_any_other_text_never_becomes_part_of_a_host(text: str) -> None:
    with pytest.raises(ConfigFailed, match="is not an AWS region"):
        checked_region(text)


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("eu-central-1", "aws"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-gov-east-1", "aws-us-gov"),
        ("cn-northwest-1", "aws-cn"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_a_region_s_name_tells_its_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition
