"""Where aiohttp's exceptions become ours: what is wrong between here and a host, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from kiro_auth.addresses import is_loopback
from kiro_auth.failures import Failure, TurnFailed

CONNECT_SECONDS: Final = 15.0
"""How long a connection, TLS included, may take to come about."""

_PORTS: Final = {"http": 80, "https": 443}


class HostFailed(TurnFailed):
    """The host itself cannot be used (name, TLS, refused): another host of the same service may do."""


@contextmanager
def translated(url: str, region: str) -> Iterator[None]:
    """Turn what aiohttp raises inside the block into TurnFailed (KA-NETWORK or KA-TIMEOUT).

    HostFailed when no connection came about at all, so that nothing can have been done twice.
    """
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ours(error, url, region) from error


def ours(error: Exception, url: str, region: str) -> TurnFailed:
    """What `translated` raises, for hot paths that have no use for a context manager."""
    host = urlsplit(url).hostname or url
    if fault := _fault_of_proxy(error, url, host):
        return HostFailed(fault)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return HostFailed(_timeout(f"{host} did not accept a connection in time."))
    if isinstance(error, TimeoutError):
        return TurnFailed(_timeout(f"{host} was silent for too long."))
    for kind, message, next_step in _HOST_SHAPED:
        if isinstance(error, kind):
            return HostFailed(_network(message.format(host=host, region=region), next_step))
    if isinstance(error, aiohttp.InvalidURL):
        return HostFailed(_network(f"The address of {host} is not a URL.", "Correct it under endpoints."))
    return TurnFailed(
        _network(f"The connection to {host} broke off.", "Check the network, then repeat the request.")
    )


def _fault_of_proxy(error: Exception, url: str, host: str) -> Failure | None:
    """What is wrong with the proxy, where it is the trouble: the account's own, or the environment's."""
    known = proxy_for(url)
    if isinstance(error, aiohttp.ClientHttpProxyError):  # it does not say which proxy refused
        own, fault = known is None, f"refuses to connect to {host}"
        step = "Check HTTPS_PROXY, its user name and password, and what the proxy allows."
    elif isinstance(error, aiohttp.ClientProxyConnectionError) or (
        isinstance(error, aiohttp.ClientConnectorDNSError) and error.host != host
    ):
        own, fault = (error.host, error.port) != _place(known), f"for {host} cannot be reached"
        step = "Check HTTPS_PROXY and NO_PROXY."
    else:
        return None
    if own:
        step = "Correct it, or take it back with an empty value: kiro-auth accounts set NAME --proxy …"
    return _network(f"The account's own proxy {fault}." if own else f"The proxy {fault}.", step)


def _place(proxy: str | None) -> tuple[str | None, int | None]:
    parts = urlsplit(proxy or "")
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)


# Searched in this order: the first class that fits speaks.
_HOST_SHAPED: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (
        aiohttp.ClientConnectorDNSError,
        "The host {host} does not exist or its name cannot be resolved: is region {region} right?",
        "Check the region and the network.",
    ),
    (
        aiohttp.ClientConnectorCertificateError,
        "The certificate of {host} is not trusted.",
        "Behind a company proxy, point SSL_CERT_FILE at the company's certificates.",
    ),
    (
        aiohttp.ClientSSLError,
        "No secure connection to {host} can be made.",
        "Behind a company proxy, point SSL_CERT_FILE at the company's certificates.",
    ),
    (
        aiohttp.ClientConnectorError,
        "{host} refuses the connection or cannot be reached.",
        "Check the network, the proxy and the region.",
    ),
)


def _network(message: str, next_step: str) -> Failure:
    return Failure(code="KA-NETWORK", message=message, next_step=next_step)


def _timeout(message: str) -> Failure:
    return Failure(code="KA-TIMEOUT", message=message, next_step="Repeat the request.")


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin, or the system, name for this URL; never one for this machine.

    aiohttp could look itself, but then it also reads `.netrc`, and fails when that names the host.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
