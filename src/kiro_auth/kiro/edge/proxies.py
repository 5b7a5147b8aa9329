"""Which proxy leads to a host."""

from __future__ import annotations

import os
import sys
from typing import Final
from urllib.parse import urlsplit

from kiro_auth.addresses import is_loopback


def proxy_for(url: str) -> str | None:
    """The proxy that HTTPS_PROXY and its kin, or the system, name for this URL; none for this machine.

    To look takes longer than to send a request.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or not (_SYSTEM_HAS_SETTINGS or _is_any_named()):
        return None
    from urllib.request import getproxies, proxy_bypass  # takes as long to import as a request to answer

    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


_SYSTEM_HAS_SETTINGS: Final = sys.platform in ("darwin", "win32")


def _is_any_named() -> bool:
    return any(name.lower().endswith("_proxy") for name in os.environ)
