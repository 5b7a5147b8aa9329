"""How connections to the services come about: from which session, in how much time, through which proxy."""

from __future__ import annotations

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

_USER_AGENT: Final = f"opencode-kiro-auth/{__version__}"
_KEEP_ALIVE: Final = 50.0  # seconds; load balancers of AWS close idle connections after 60


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
            keepalive_timeout=_KEEP_ALIVE,
            ssl=trust.context,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # Compression would hold events back; what comes compressed all the same is still decoded.
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
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
    host = parts.hostname or ""
    if is_loopback(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
