"""The service's search of the web: JSON-RPC as MCP has it, inside the operation InvokeMCP.

One careful report of 2026 describes it: `tools/list` names the tool, `tools/call` runs it, and what it found
is JSON inside the text of the result, with title, address, snippet and date of each page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kiro_auth.conversation import SearchFault, WebPage
from kiro_auth.failures import Failure
from kiro_auth.json_values import as_number, as_object, as_objects, as_text, object_in

_NAME: Final = "web_search"
_INVALID_PARAMS: Final = -32602
_TOO_LONG: Final = ("too long", "exceeds", "maximum length")
_MILLISECONDS: Final = 1e11
"""Epoch seconds do not reach this far; a larger number counts milliseconds."""


def list_request(id_: str) -> dict[str, Any]:
    """Which tools there are."""
    return {"id": id_, "jsonrpc": "2.0", "method": "tools/list", "params": {}}


def call_request(id_: str, tool: str, query: str) -> dict[str, Any]:
    """Search for that."""
    params = {"name": tool, "arguments": {"query": query}}
    return {"id": id_, "jsonrpc": "2.0", "method": "tools/call", "params": params}


def tool_in(answer: Mapping[str, Any]) -> str | None:
    """The name of the search among the tools that are listed; None where there is none."""
    names = [
        as_text(tool.get("name")) or "" for tool in as_objects(as_object(answer.get("result")).get("tools"))
    ]
    return next((name for name in names if name == _NAME), None) or next(
        (name for name in names if "search" in name.lower()), None
    )


def found_in(answer: Mapping[str, Any]) -> tuple[WebPage, ...] | SearchFault:
    """The pages that a search found, or why there was none."""
    error = as_object(answer.get("error"))
    if error:
        return _fault(as_number(error.get("code")), as_text(error.get("message")) or "")
    result = as_object(answer.get("result"))
    texts = [as_text(part.get("text")) or "" for part in as_objects(result.get("content"))]
    if result.get("isError") is True:
        return _fault(None, " ".join(texts))
    for text in texts:
        if (listing := object_in(text.encode(errors="replace"))) is not None:
            if complaint := listing.get("error"):
                return _fault(None, complaint if isinstance(complaint, str) else json.dumps(complaint))
            return tuple(_pages(listing))
    return "unavailable"


def fault_of(failure: Failure) -> SearchFault:
    """What a call that failed means for the search."""
    if failure.code == "KA-THROTTLE":
        return "too_many_requests"
    return "invalid_tool_input" if failure.code in ("KA-BODY", "KA-REQUEST") else "unavailable"


def _fault(code: float | None, message: str) -> SearchFault:
    if any(words in message.lower() for words in _TOO_LONG):
        return "query_too_long"
    return "invalid_tool_input" if code == _INVALID_PARAMS else "unavailable"


def _pages(listing: Mapping[str, Any]) -> Iterator[WebPage]:
    for row in as_objects(listing.get("results")):
        url = as_text(row.get("url"))
        if url:
            title, text = as_text(row.get("title")), as_text(row.get("snippet"))
            yield WebPage(url, title or url, text or "", _age(row.get("publishedDate")))


def _age(given: Any) -> str | None:
    """The date, as it is given in words or in epoch milliseconds."""
    if isinstance(given, str):
        return given or None
    seconds = as_number(given)
    if seconds is None:
        return None
    try:
        date = datetime.fromtimestamp(seconds / 1000 if abs(seconds) > _MILLISECONDS else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return date.date().isoformat()
