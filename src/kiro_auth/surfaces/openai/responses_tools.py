"""The tools of a Responses request, and what the client calls them.

Names are unique within a namespace only.  Kiro knows no namespaces, so there a tool's name begins with its
namespace, and the client gets the two apart again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kiro_auth.conversation import Tool, ToolChoice
from kiro_auth.surfaces.decoding import schema_of
from kiro_auth.surfaces.openai.custom_tools import custom_tool
from kiro_auth.surfaces.tool_choice import tool_choice as read_tool_choice


def tools_of(tools: Iterable[Any], namespace: str = "") -> Iterator[Tool]:
    """Functions and custom tools, those in a namespace too; Kiro has none of OpenAI's own tools."""
    for tool in tools:
        match tool:
            case {"type": "function", "name": str(name)}:
                schema = schema_of(tool.get("parameters"))
                yield Tool(qualified(name, namespace), _description(tool), schema, namespace=namespace)
            case {"type": "custom", "name": str(name)}:
                custom = custom_tool(qualified(name, namespace), _description(tool), tool.get("format"))
                yield msgspec.structs.replace(custom, namespace=namespace)
            case {"type": "namespace", "name": str(name), "tools": list(inner)}:
                yield from _introduced(tools_of(inner, name), _description(tool))


def tools_within(given: str | list[Any]) -> Iterator[Any]:
    """Tools that were offered, or found by a search, only later in the conversation."""
    for item in () if isinstance(given, str) else given:
        match item:
            case {"type": "additional_tools" | "tool_search_output", "tools": list(tools)}:
                yield from tools


def tool_choice(given: Any, tools: Iterable[Tool]) -> ToolChoice:
    """Which of these tools the model may or must call.  Raises TurnFailed (KA-REQUEST)."""
    choice = read_tool_choice(given)
    names = (name for named in choice.names for name in _meant(named, tools))
    return ToolChoice(choice.mode, tuple(names))


def qualified(name: str, namespace: str) -> str:
    """The name that is unique among all tools."""
    return _prefix(namespace) + name


def as_called(name: str, tool: Tool | None) -> dict[str, str]:
    """How a call names the tool; a name that no tool has stays as it is."""
    if tool is None or not tool.namespace:
        return {"name": name}
    return {"name": _own_name(tool), "namespace": tool.namespace}


def _meant(name: str, tools: Iterable[Tool]) -> tuple[str, ...]:
    """A choice names no namespace."""
    return tuple(tool.name for tool in tools if name in (tool.name, _own_name(tool))) or (name,)


def _own_name(tool: Tool) -> str:
    return tool.name.removeprefix(_prefix(tool.namespace))


def _prefix(namespace: str) -> str:
    return namespace if not namespace or namespace.endswith("__") else f"{namespace}__"


def _introduced(tools: Iterator[Tool], description: str) -> Iterator[Tool]:
    """What is said of a namespace is said once, by its first tool."""
    if description and (first := next(tools, None)):
        about = f"About the tools {_prefix(first.namespace)}*: {description}"
        yield msgspec.structs.replace(first, description=f"{first.description}\n\n{about}".lstrip())
    yield from tools


def _description(tool: Mapping[str, Any]) -> str:
    description = tool.get("description")
    return description if isinstance(description, str) else ""
