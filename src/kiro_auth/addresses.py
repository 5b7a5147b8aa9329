"""Rules about addresses: which is this machine, which may be sent a secret, what is an AWS region."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from kiro_auth.failures import ConfigFailed, Failure

REGION: Final = r"[a-z]{2,4}(-[a-z]+)+-\d+"
_PARTITIONS: Final = {"us-gov-": "aws-us-gov", "cn-": "aws-cn", "eusc-": "aws-eusc"}
"""Partitions of AWS by the start of their regions' names: the endpoints in botocore."""


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine: `localhost`, `::1`, and 127.0.0.0/8.

    The whole block of 127 never leaves a machine (RFC 1122, 3.2.1.3); `127.evil.example` is a name like any
    other.  IPv6 addresses come without brackets.
    """
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def is_network(text: object) -> bool:
    """Whether it is an address, or a network as in 10.0.0.0/8."""
    try:
        return isinstance(text, str) and bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def acceptable_url(url: str) -> bool:
    """Whether secrets may travel to this URL: https, or plain http to a loopback address."""
    if not url.isprintable() or " " in url:  # what reads URLs leaves such characters out in silence
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.username is not None or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def partition_of(region: str) -> str:
    """The partition of AWS that a region belongs to.  What one has issued is unknown in all others."""
    return next((name for start, name in _PARTITIONS.items() if region.startswith(start)), "aws")


def checked_region(value: str) -> str:
    """`value` if it has the form of an AWS region.  Raises ConfigFailed, so that no text becomes a host."""
    if not re.fullmatch(REGION, value):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{value!r} is not an AWS region.",
                next_step="Name one such as us-east-1.",
            )
        )
    return value
