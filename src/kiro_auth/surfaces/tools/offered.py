"""The tools of a request, whatever shape a client gives them: no entry is passed over in silence.

A function of any API's shape is a function on every API, and so are the tools that Anthropic and OpenAI
define and the client runs.  The search of the web is run by this gateway.  What only their makers' servers
could run is not refused, as people cannot change what their program sends along: the model is told that it is
not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct

from kiro_auth.conversation import Tool, ToolChoice, WebSearch
from kiro_auth.surfaces.decoding import refused, schema_of
from kiro_auth.surfaces.tools.anthropic_own import anthropic_tools
from kiro_auth.surfaces.tools.openai_own import openai_tools
from kiro_auth.surfaces.tools.web_search import NAME, is_web_search, search_tool, web_search

_FUNCTIONS: Final = ("function", "custom")
"""Types that say no more than that it is a tool of the client's own."""
_SCHEMAS: Final = ("input_schema", "parameters")
_FINDERS: Final = r"tool_search(_tool_(bm25|regex)(_\d+)?)?"
"""Searches among tools that are not loaded yet.  Here all are offered at once, so nobody misses them."""


class Searched(Struct, frozen=True):
    """A search of the web, as a `tools` entry asks for it."""

    given: Mapping[str, Any]


class Elsewhere(Struct, frozen=True):
    """A tool that only its maker's servers run, by a name that the client knows."""

    name: str


Entry: TypeAlias = Tool | Searched | Elsewhere


class Offered(Struct, frozen=True):
    """What can be offered, and the names of what the client asked for and is `missing`."""

    tools: tuple[Tool, ...] = ()
    web_search: WebSearch | None = None
    missing: tuple[str, ...] = ()

    def notes(self) -> tuple[str, ...]:
        """The instructions that tell the model what is missing."""
        if not self.missing:
            return ()
        note = (
            "The program that you work for also asked for tools that are not available here: "
            f"{', '.join(self.missing)}. Where the task needs one of them, tell the user so; do not pretend "
            "that you used it."
        )
        return (note,)

    def search_for(self, choice: ToolChoice) -> WebSearch | None:
        """The search under that choice: it is forced where a call is, and there is nothing else to call."""
        search = self.web_search
        names = choice.names or tuple(tool.name for tool in self.tools)
        if search is None or choice.mode == "none" or search.name not in names:
            return None
        return msgspec.structs.replace(search, forced=choice.mode == "required" and names == (search.name,))


def entries(given: Any, where: str) -> Iterator[Entry]:
    """What one entry of `tools` stands for.  Raises TurnFailed (KA-REQUEST) naming it."""
    if not isinstance(given, dict):
        raise refused(f"`{where}` must be an object.")
    kind = given.get("type")
    kind = kind if isinstance(kind, str) else "function"
    if isinstance(given.get("function"), dict):
        yield _function(given["function"], f"{where}.function")
    elif kind in _FUNCTIONS or ("name" in given and not given.keys().isdisjoint(_SCHEMAS)):
        yield _function(given, where)
    elif (own := anthropic_tools(kind, given) or openai_tools(kind, given)) is not None:
        yield from own
    elif is_web_search(kind):
        yield Searched(given)
    elif not re.fullmatch(_FINDERS, kind):
        yield Elsewhere(_label(kind, given))


def _function(given: Mapping[str, Any], where: str) -> Tool:
    name, description = given.get("name"), given.get("description")
    if not isinstance(name, str) or not name:
        raise refused(f"`{where}.name` is missing.")
    schema = given.get("input_schema", given.get("parameters"))
    return Tool(name, description if isinstance(description, str) else "", schema_of(schema))


def _label(kind: str, given: Mapping[str, Any]) -> str:
    for field in ("name", "server_label", "mcp_server_name"):
        label = given.get(field)
        if isinstance(label, str) and label and label != kind:
            return f"{kind[:60]} ({label[:60]})"
    return kind[:60]


def offered(parts: Iterable[Entry], elsewhere: Iterable[str] = ()) -> Offered:
    """All entries of a request together; `elsewhere` are more that the client asked for and are not there."""
    all_entries = list(parts)
    tools = [part for part in all_entries if isinstance(part, Tool)]
    search: WebSearch | None = None
    for part in all_entries:
        if isinstance(part, Searched) and search is None:
            taken = any(tool.name == NAME for tool in tools)  # by a tool of the client's own
            search = web_search(part.given, f"server_{NAME}" if taken else NAME)
            tools.append(search_tool(part.given, search))
    missing = [part.name for part in all_entries if isinstance(part, Elsewhere)] + list(elsewhere)
    return Offered(tuple(tools), search, tuple(dict.fromkeys(missing)))
