"""Which proxy leads to a host."""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from kiro_auth.addresses import is_loopback

_SETTINGS_SECONDS: Final = 60


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin, or the system, name for this URL; none for this machine."""
    parts = urlsplit(url)
    named = tuple(map(os.environ.get, _VARIABLES))
    # The settings of a system that has some are looked at once a minute.
    return _proxy(parts.scheme, parts.hostname or "", named, int(time.monotonic() / _SETTINGS_SECONDS))


_VARIABLES: Final = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    "REQUEST_METHOD",  # where it is set, as for CGI, HTTP_PROXY may be a header of a request
)


_SYSTEM_HAS_SETTINGS: Final = sys.platform in ("darwin", "win32")


def _is_any_named() -> bool:
    return any(name.lower().endswith("_proxy") for name in os.environ)


@lru_cache(maxsize=64)
def _proxy(scheme: str, host: str, _variables: tuple[str | None, ...], _minute: int) -> str | None:
    """To look takes longer than to send a request, so it is done once for the variables as they are."""
    if is_loopback(host) or not (_SYSTEM_HAS_SETTINGS or _is_any_named()):
        return None
    from urllib.request import getproxies, proxy_bypass  # takes as long to import as a request to answer

    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
