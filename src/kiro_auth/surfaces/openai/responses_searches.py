"""Searches of the web as `web_search_call` items of the Responses API, written and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kiro_auth.conversation import Block, SearchEnded, Text, ToolCall, ToolResult, WebPage
from kiro_auth.surfaces.tools.web_search import NAME, pages_text

_PREFIX: Final = "ws_"
_NOT_KEPT: Final = "The search was made. What it found is not kept here; the answer tells of it."


def item_id(call_id: str) -> str:
    """The id of the item, of the id of the model's call."""
    return _PREFIX + call_id


def action(query: str) -> dict[str, Any]:
    """What the search does."""
    return {"type": "search", "query": query, "queries": [query]}


def ended(search: SearchEnded) -> dict[str, Any]:
    """What changes of the item when the search has ended."""
    status = "completed" if search.fault is None else "failed"
    sources = [{"type": "url", "url": page.url} for page in search.pages]
    return {"status": status, "action": {**action(search.query), "sources": sources}}


def search_of(item: Mapping[str, Any]) -> list[Block] | None:
    """The call and what is left of its result: clients keep the addresses at most; None for another item."""
    match item:
        case {"type": "web_search_call", "id": str(id_), "action": {"type": "search"} as fields}:
            call_id = id_.removeprefix(_PREFIX)
            call = ToolCall(call_id, NAME, {"query": _query(fields)})
            text = _found(item.get("status"), fields.get("sources"))
            return [call, ToolResult(call_id, (Text(text),), is_error=item.get("status") == "failed")]
    return None


def _query(action: Mapping[str, Any]) -> str:
    """What was searched for: of newer clients it stands in a list."""
    query, queries = action.get("query"), action.get("queries")
    given = [query] if query else queries if isinstance(queries, list) else []
    return "; ".join(each for each in given if isinstance(each, str))


def _found(status: Any, sources: Any) -> str:
    if status == "failed":
        return "Nothing was searched."
    pages = tuple(
        WebPage(source["url"], "")
        for source in (sources if isinstance(sources, list) else ())
        if isinstance(source, dict) and isinstance(source.get("url"), str)
    )
    return pages_text(pages) if pages else _NOT_KEPT
