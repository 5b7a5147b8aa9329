"""The tools of a Responses request, and what the client calls them.

Names are unique within a namespace only.  Kiro knows no namespaces, so there a tool's name begins with its
namespace, and the client gets the two apart again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kiro_auth.conversation import Tool, ToolChoice
from kiro_auth.failures import TurnFailed
from kiro_auth.surfaces.decoding import name_of
from kiro_auth.surfaces.openai.custom_tools import custom_tool_of
from kiro_auth.surfaces.tools.choice import tool_choice as read_tool_choice
from kiro_auth.surfaces.tools.offered import Elsewhere, Entry, entries, offered


def entries_of(tools: Iterable[Any], where: str, namespace: str = "") -> Iterator[Entry]:
    """What the entries of `tools` stand for, those in a namespace too.  Raises TurnFailed naming one."""
    for number, tool in enumerate(tools):
        place = f"{where}.{number}"
        match tool:
            case {"type": "namespace", "name": str(name), "tools": list(inner)} if not namespace:
                named = name_of(name, f"{place}.name")
                yield from _introduced(entries_of(inner, f"{place}.tools", named), _text(tool, "description"))
            case _:
                custom = custom_tool_of(tool)
                for entry in (custom,) if custom is not None else entries(tool, place):
                    yield _in_namespace(entry, namespace)


def _in_namespace(entry: Entry, namespace: str) -> Entry:
    if not namespace or not isinstance(entry, Tool):
        return entry
    return msgspec.structs.replace(entry, name=qualified(entry.name, namespace), namespace=namespace)


def entries_within(given: str | list[Any]) -> Iterator[Entry]:
    """Tools that were offered, or found by a search, only later in the conversation."""
    for number, item in enumerate(() if isinstance(given, str) else given):
        match item:
            case {"type": "additional_tools" | "tool_search_output", "tools": list(tools)}:
                yield from _readable(tools, f"input.{number}.tools")


def names_of(tools: Iterable[Any]) -> tuple[str, ...]:
    """The names of those that can be offered."""
    return tuple(tool.name for tool in offered(_readable(tools, "tools")).tools)


def _readable(tools: Iterable[Any], where: str) -> Iterator[Entry]:
    """Those of a history, which is not refused for one that makes no sense: the model is told of that."""
    for tool in tools:
        try:
            yield from list(entries_of([tool], where))
        except TurnFailed:
            yield Elsewhere("a tool that cannot be read")


def tool_choice(given: Any, tools: Iterable[Tool]) -> ToolChoice:
    """Which of these tools the model may or must call; a choice names no namespace.

    Raises TurnFailed (KA-REQUEST).
    """
    return read_tool_choice(given, tools, _own_name)


def qualified(name: str, namespace: str) -> str:
    """The name that is unique among all tools."""
    return _prefix(namespace) + name


def as_called(name: str, tool: Tool | None) -> dict[str, str]:
    """How a call names the tool; a name that no tool has stays as it is."""
    if tool is None or not tool.namespace:
        return {"name": name}
    return {"name": _own_name(tool), "namespace": tool.namespace}


def _own_name(tool: Tool) -> str:
    return tool.name.removeprefix(_prefix(tool.namespace))


def _prefix(namespace: str) -> str:
    return namespace if not namespace or namespace.endswith("__") else f"{namespace}__"


def _introduced(all_entries: Iterator[Entry], description: str) -> Iterator[Entry]:
    """What is said of a namespace is said once, by its first tool."""
    for entry in all_entries:
        if description and isinstance(entry, Tool):
            about = f"About the tools {_prefix(entry.namespace)}*: {description}"
            described = f"{entry.description}\n\n{about}".lstrip()
            yield msgspec.structs.replace(entry, description=described)
            description = ""
        else:
            yield entry


def _text(tool: Mapping[str, Any], field: str) -> str:
    text = tool.get(field)
    return text if isinstance(text, str) else ""
