"""One search of the web, run with the account that answers the turn."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.conversation import SearchBegun, SearchEnded, SearchFault, WebPage, WebSearch
from kiro_auth.failures import KiroAuthError
from kiro_auth.gateway.credentials import credentials_of
from kiro_auth.kiro import web_search as service
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.surfaces.tools.web_search import within

log = logging.getLogger("kiro_auth.web_search")

_FRESH: Final = 3600.0
"""Seconds for which the name of the service's tool is taken as true; none is asked for again sooner."""
_AGAIN: Final = 60.0
"""Seconds after which it is asked for again where there was none, or it could not be had."""


class Searcher:
    """Searches with the service's own tool; it remembers by account which that is, or that there is none."""

    def __init__(self, client: KiroClient) -> None:
        self._client = client
        self._tools: dict[str, tuple[float, str | None]] = {}  # by account id

    async def search(self, account: Account, begun: SearchBegun, wanted: WebSearch) -> SearchEnded:
        """What came of it; a search that cannot be done is no failure of the turn, nor of the account."""
        result = await self._pages_or_fault(account, begun.query)
        if isinstance(result, str):
            log.info("a web search of %s gave nothing: %s", account.name, result)
            return SearchEnded(begun.id, begun.query, fault=result)
        return SearchEnded(begun.id, begun.query, within(result, wanted))

    async def _pages_or_fault(self, account: Account, query: str) -> tuple[WebPage, ...] | SearchFault:
        if not query.strip():
            return "invalid_tool_input"
        credentials = credentials_of(account)
        tool = await self._tool(account.id, credentials)
        if tool is None:
            return "unavailable"
        try:
            request = service.call_request(_id(), tool, query)
            return service.found_in(await self._client.invoke_mcp(credentials, request))
        except KiroAuthError as error:
            return service.fault_of(error.failure)

    async def _tool(self, account_id: str, credentials: Credentials) -> str | None:
        """The name of the service's tool for this account; None where there is none."""
        asked_at, tool = self._tools.get(account_id, (None, None))
        age = _FRESH if tool else _AGAIN
        if asked_at is None or time.monotonic() - asked_at > age:
            tool = await self._listed(credentials)
            self._tools[account_id] = (time.monotonic(), tool)
        return tool

    async def _listed(self, credentials: Credentials) -> str | None:
        try:
            return service.tool_in(await self._client.invoke_mcp(credentials, service.list_request(_id())))
        except KiroAuthError as error:
            log.info("the service's tools cannot be listed: %s", error.failure.code)
            return None


def _id() -> str:
    return f"web_search_{uuid.uuid4().hex}"
