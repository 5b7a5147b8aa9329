"""Which addresses are pages, made by a library that takes long to import: the dashboard, and `/metrics`."""

from __future__ import annotations

from typing import Final

from kiro_auth.config import Config
from kiro_auth.dashboard.addresses import EVENTS, FOLDER, NEW_LINK
from kiro_auth.gateway.http.head import Head
from kiro_auth.metrics.addresses import PATH

WATCHED: Final = (EVENTS, PATH)
"""What is asked for again and again by itself: it keeps no gateway alive that nobody uses."""


def has_page(head: Head) -> bool:
    """`/` is the dashboard for browsers; programs that look there want to know whether somebody is."""
    path = head.path
    if path == "/":
        return "text/html" in head.headers.get("accept", "")
    return path.startswith(FOLDER) or path in (PATH, NEW_LINK)


def is_open_page(config: Config, path: str) -> bool:
    """Whether a path needs no key: the dashboard has sessions of its own."""
    return path.startswith(FOLDER) or (path == PATH and config.metrics_access == "open")


def is_for_clients(path: str) -> bool:
    """Whether holders of client keys may ask for it, too: a link to what is theirs."""
    return path == NEW_LINK


def is_use(path: str) -> bool:
    """Whether a request for it keeps the gateway alive."""
    return path not in WATCHED
