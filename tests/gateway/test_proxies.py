"""Where a request comes from: proxies are believed if they are the operator's, and nobody else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.gateway.proxies import Proxies

PROXIES = Proxies(["10.0.0.0/8", "fd00::/8", "192.0.2.1"])
ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        pytest.param("203.0.113.9", ["198.51.100.1"], "203.0.113.9", id="a stranger says what it likes"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy for itself"),
        pytest.param("10.0.0.1", ["203.0.113.9"], "203.0.113.9", id="a proxy for a client"),
        pytest.param("10.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9", id="what the client wrote before"),
        pytest.param("10.0.0.1", ["1.2.3.4", "203.0.113.9, 10.9.9.9"], "203.0.113.9", id="two proxies"),
        pytest.param("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9", id="with a port"),
        pytest.param("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7", id="in brackets"),
        pytest.param("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9", id="mapped into IPv6"),
        pytest.param("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1", id="what is hidden ends the list"),
        pytest.param("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", id="proxies alone"),
        pytest.param("", ["203.0.113.9"], "", id="a Unix socket"),
    ],
)
def test_the_client_is_the_last_that_no_trusted_proxy_vouches_for(
    peer: str, chain: list[str], client: str
) -> None:
    assert PROXIES.client(peer, {}, chain) == client


def test_forwarded_of_rfc_7239_is_read_where_the_older_header_is_not_there() -> None:
    headers = {"forwarded": 'for=1.2.3.4, for="[2001:db8::7]:80";proto=https'}
    assert PROXIES.client("10.0.0.1", headers, []) == "2001:db8::7"
    assert PROXIES.client("203.0.113.9", headers, []) == "203.0.113.9"


def test_tls_is_believed_of_a_proxy_that_is_trusted() -> None:
    assert PROXIES.secured("10.0.0.1", {"x-forwarded-proto": "https"})
    assert not PROXIES.secured("203.0.113.9", {"x-forwarded-proto": "https"})
    assert not PROXIES.secured("10.0.0.1", {"x-forwarded-proto": "http"})


@given(peer=ADDRESSES, chain=st.lists(st.text(max_size=40) | ADDRESSES, max_size=4))
def test_without_proxies_nothing_that_is_said_counts(peer: str, chain: list[str]) -> None:
    assert Proxies().client(peer, {"forwarded": ",".join(chain)}, chain) == peer
