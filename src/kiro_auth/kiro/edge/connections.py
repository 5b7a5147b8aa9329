"""How connections to the services come about: from which session, in how much time, through which proxy."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from kiro_auth import __version__
from kiro_auth.addresses import is_loopback
from kiro_auth.kiro.edge.clock import ServiceClock
from kiro_auth.kiro.edge.trust import Trust

CONNECT_SECONDS: Final = 15.0
"""How long a connection, TLS included, may take to come about."""

KEEP_ALIVE: Final = 50.0
"""Seconds for which an idle connection is kept; load balancers of AWS close them after 60."""
HEADERS: Final = {
    "User-Agent": f"opencode-kiro-auth/{__version__}",
    # Compression would hold events back; what comes compressed all the same is still decoded.
    "Accept-Encoding": "identity",
}
"""Of every request to a service."""
_SETTINGS_SECONDS: Final = 60


def open_session(clock: ServiceClock | None = None, trust: Trust | None = None) -> aiohttp.ClientSession:
    """A session made for this use; close it (it is a context manager).  Needs a running event loop.

    `clock` hears the time of every answer; `trust` is shared with other connections.
    """
    trust = trust or Trust()
    return aiohttp.ClientSession(
        trace_configs=[_reading(trust), *([clock.trace()] if clock else [])],
        connector=aiohttp.TCPConnector(
            limit=0,  # slots per account bound the number of calls; this would only add a hidden queue
            ttl_dns_cache=300,
            keepalive_timeout=KEEP_ALIVE,
            ssl=trust.context,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
    )


def _reading(trust: Trust) -> aiohttp.TraceConfig:
    """Has the certificates read before a connection is made."""

    async def connects(*_: object) -> None:
        await trust.ready()

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connects)
    return config


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin, or the system, name for this URL; never one for this machine.

    aiohttp could look itself, but then it also reads `.netrc`, and fails when that names the host.
    """
    parts = urlsplit(url)
    named = tuple(map(os.environ.get, _VARIABLES))
    # The settings of a system that has some are looked at once a minute.
    return _proxy(parts.scheme, parts.hostname or "", named, int(time.monotonic() / _SETTINGS_SECONDS))


_VARIABLES: Final = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    "REQUEST_METHOD",  # where it is set, as for CGI, HTTP_PROXY may be a header of a request
)


@lru_cache(maxsize=64)
def _proxy(scheme: str, host: str, _variables: tuple[str | None, ...], _minute: int) -> str | None:
    """To look takes longer than to send a request, so it is done once for the variables as they are."""
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
