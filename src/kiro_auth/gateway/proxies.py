"""Where a request comes from, also behind proxies: they alone are believed in what they say of clients.

A proxy adds the address it was called from at the end of `X-Forwarded-For` (or of RFC 7239's `Forwarded`), so
that the list is read from its end, for as long as who is named there is a proxy that is trusted.  What stands
before the first other one anybody may have written.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_FOR: Final = r"""(?i)for="?([^";,\s]+)"""
_MOST: Final = 32
"""Of the proxies on the way that are looked at."""


class Proxies:
    """Those at these addresses and in these networks."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks = tuple(map(ipaddress.ip_network, networks))

    def client(self, peer: str, headers: Mapping[str, str], chain: Sequence[str]) -> str:
        """The address of the client of a request that came from `peer`.

        `chain` are all lines of `X-Forwarded-For`; names of headers are in lower case.
        """
        client = _address(peer)
        if client is None or not self._trusts(client):
            return peer
        named = ",".join(chain).split(",") if chain else re.findall(_FOR, headers.get("forwarded", ""))
        for text in reversed(named[-_MOST:]):
            said = _address(text)
            if said is None:  # it hides the rest, as unknown and _names of RFC 7239 do
                break
            client = said
            if not self._trusts(client):
                break
        return str(client)

    def has(self, peer: str) -> bool:
        """Whether one of them is there."""
        address = _address(peer)
        return address is not None and self._trusts(address)

    def secured(self, peer: str, headers: Mapping[str, str]) -> bool:
        """Whether a proxy that is trusted says that its client spoke TLS."""
        return headers.get("x-forwarded-proto", "").strip().lower() == "https" and self.has(peer)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=256)
def _address(text: str) -> Address | None:
    """What stands for an address: in brackets, with a port, or mapped into IPv6, too."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
