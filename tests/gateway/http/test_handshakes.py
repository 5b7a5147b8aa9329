"""TLS handshakes under way: which of them gives way where there are too many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from kiro_auth.gateway.http.handshakes import Handshakes
from kiro_auth.gateway.http.limits import HEAD_SECONDS, MOST_HANDSHAKES, MOST_OF_ONE, TIME_TO_ASK
from kiro_auth.gateway.http.site import origin_of

PROXY = "10.0.0.1"


class Begun(asyncio.WriteTransport):
    """A handshake; what is sent of it does not matter here."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = False

    def abort(self) -> None:
        self.is_over = True


def begun(addresses: Iterable[str]) -> tuple[Handshakes, list[Begun]]:
    """Handshakes from these addresses, one each hundredth of a second."""
    handshakes, all_ = Handshakes(lambda address: address != PROXY), []
    for number, address in enumerate(addresses):
        all_.append(Begun())
        handshakes.add(all_[-1], address, number / 100)
    return handshakes, all_


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.1", "203.0.113.2", False),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::5", True),
        ("2001:db8:1:2::4", "2001:db8:1:3::4", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_of_ipv6_a_client_is_known_by_its_network_as_one_machine_may_have_all_of_that(
    one: str, other: str, same: bool
) -> None:
    assert (origin_of(one) == origin_of(other)) is same


def test_who_has_many_addresses_of_one_network_has_no_more_handshakes_than_who_has_one() -> None:
    young = round(TIME_TO_ASK * 100)
    _, all_ = begun(f"2001:db8:1:2::{number:x}" for number in range(1, 2 * young + MOST_OF_ONE))
    assert all(each.is_over for each in all_[: -young - 1])
    assert not any(each.is_over for each in all_[-MOST_OF_ONE:])


def test_a_trusted_proxy_gives_way_to_no_crowd_of_addresses_before_they_do() -> None:
    crowd = [f"203.0.{number // 250}.{number % 250}" for number in range(MOST_HANDSHAKES + 20)]
    _, all_ = begun([*crowd[:30], PROXY, PROXY, PROXY, *crowd[30:]])
    assert not any(each.is_over for each in all_[30:33])
    assert sum(each.is_over for each in all_) == 23


def test_a_proxy_alone_has_all_places_and_the_oldest_of_its_own_give_way() -> None:
    handshakes, all_ = begun([PROXY] * (MOST_HANDSHAKES + 3))
    assert [each.is_over for each in all_] == [True] * 3 + [False] * MOST_HANDSHAKES
    assert len(handshakes) == MOST_HANDSHAKES


def test_one_address_gives_way_itself_where_it_has_the_most() -> None:
    _, all_ = begun(["198.51.100.1", *["203.0.113.1"] * (MOST_HANDSHAKES + 10)])
    assert not all_[0].is_over
    assert all_[1].is_over


def test_what_takes_too_long_is_given_up_and_nothing_is_kept_of_what_is_over() -> None:
    handshakes, all_ = begun(["203.0.113.1", "203.0.113.2", PROXY])
    handshakes.discard(all_[0])
    handshakes.discard(all_[0])
    handshakes.tick(HEAD_SECONDS + 1)
    assert [each.is_over for each in all_] == [False, True, True]
    assert not handshakes
