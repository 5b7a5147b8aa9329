"""InvokeMCP: the service's own tools, of which there is one, a search of the web.

A call is JSON-RPC 2.0 as MCP has it.  What a search finds is JSON inside the text of its result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from kiro_auth.simulator.refusals import Refusal
from kiro_auth.simulator.scenario import User
from kiro_auth.simulator.world import World

OPERATION: Final = "InvokeMCP"
REGIONS: Final = ("us-east-1",)
"""Where it is offered; the same hosts in eu-central-1 do not know it."""

_TOOL: Final = "web_search"
_LONGEST_QUERY: Final = 200  # characters, as the tool's own schema says here
_SCHEMA: Final = {
    "type": "object",
    "properties": {"query": {"type": "string", "maxLength": _LONGEST_QUERY}},
    "required": ["query"],
}
_INVALID_REQUEST: Final = -32600
_NO_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602
_JANUARY: Final = 1_767_225_600_000  # 2026-01-01, epoch milliseconds


def invoke(world: World, user: User, members: Mapping[str, Any], header_arn: str | None) -> dict[str, Any]:
    """The answer to one JSON-RPC request.  Raises Refusal for a profile that is not the user's."""
    arn = header_arn or members.get("profileArn")
    if user.kind != "builder-id" and arn not in [profile.arn for profile in user.profiles]:
        raise Refusal("AccessDeniedException", "User is not authorized to make this call.")
    id_ = members.get("id")
    if members.get("jsonrpc") != "2.0":
        return _error(id_, _INVALID_REQUEST, "Invalid Request")
    params = members.get("params")
    params = params if isinstance(params, dict) else {}
    match members.get("method"):
        case "initialize":
            return _result(id_, {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})
        case "notifications/initialized":
            return _result(id_, {})
        case "tools/list":
            tool = {"name": _TOOL, "description": "Searches the web.", "inputSchema": _SCHEMA}
            return _result(id_, {"tools": [tool] if world.settings.web_tools else []})
        case "tools/call":
            return _called(world, id_, params)
    return _error(id_, _NO_METHOD, "Method not found")


def _called(world: World, id_: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    arguments = params.get("arguments")
    query = arguments.get("query") if isinstance(arguments, dict) else None
    if params.get("name") != _TOOL or not world.settings.web_tools:
        return _error(id_, _INVALID_PARAMS, f"Unknown tool: {params.get('name')}")
    if not isinstance(query, str) or not query.strip():
        return _error(id_, _INVALID_PARAMS, "query is required")
    if len(query) > _LONGEST_QUERY:
        return _error(id_, _INVALID_PARAMS, f"query exceeds the maximum length of {_LONGEST_QUERY}")
    scripted = world.next_search(query)
    if scripted is not None and scripted.error is not None:
        return _error(id_, scripted.error.code, scripted.error.message)
    results = list(scripted.results) if scripted is not None else _results(query)
    found = {"results": results, "totalResults": len(results), "query": query, "error": None}
    failed = scripted is not None and scripted.is_error
    text = "The search failed." if failed else json.dumps(found)
    return _result(id_, {"isError": failed, "content": [{"type": "text", "text": text}]})


def _results(query: str) -> list[dict[str, Any]]:
    """Two pages about anything."""
    slug = re.sub(r"\W+", "-", query.lower()).strip("-") or "page"
    return [
        {
            "title": f"{word} {query}",
            "url": f"https://{host}/{slug}",
            "snippet": f"{word} {query}: this page knows it all.",
            "publishedDate": date,
            "id": f"{host}/{slug}",
            "domain": host,
            "maxVerbatimWordLimit": 30,
            "publicDomain": False,
        }
        for host, word, date in (
            ("news.example.com", "News of", _JANUARY),
            ("wiki.example.org", "All about", None),
        )
    ]


def _result(id_: Any, result: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "result": dict(result)}


def _error(id_: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": message}}
