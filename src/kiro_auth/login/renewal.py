"""How tokens of accounts of every kind are renewed."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp

from kiro_auth.accounts.refresh import Refresh, from_service
from kiro_auth.config import Config
from kiro_auth.kiro.endpoints import Endpoints
from kiro_auth.login.imports.linked import linked


def renewal(
    http: aiohttp.ClientSession, endpoints: Endpoints, config: Config, clock: Callable[[], float]
) -> Refresh:
    """At the service that gave them; those that another program holds too, in turn with it."""
    margin = config.token_expiry_buffer_ms / 1000
    return linked(from_service(http, endpoints), margin=margin, clock=clock)
