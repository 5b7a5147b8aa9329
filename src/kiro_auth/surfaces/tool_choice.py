"""Which tool the model may or must call, in the words of any of the three APIs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kiro_auth.conversation import ToolChoice
from kiro_auth.surfaces.decoding import refused


def tool_choice(given: Any) -> ToolChoice:
    """A word, or an object that names a tool or those that are allowed.

    Raises TurnFailed (KA-REQUEST) naming the field for anything else.
    """
    match given:
        case None | "auto" | {"type": "auto"}:
            return ToolChoice()
        case "none" | {"type": "none"}:
            return ToolChoice("none")
        case "required" | "any" | {"type": "required" | "any"}:
            return ToolChoice("required")
        case {"type": "allowed_tools", "allowed_tools": {} as inner}:  # Chat Completions
            return _allowed(inner)
        case {"type": "allowed_tools"}:  # Responses
            return _allowed(given)
        case {"type": str(kind)}:
            name = _name(given)
            if name is None and kind in ("function", "tool", "custom"):
                return ToolChoice("required")
            return ToolChoice("required", (name or kind,))
    raise refused("`tool_choice` must be auto, none, required, or an object with a type.")


def _allowed(given: Mapping[str, Any]) -> ToolChoice:
    names = tuple(_names(given.get("tools")))
    if not names:
        return ToolChoice("none")
    return ToolChoice("required" if given.get("mode") == "required" else "auto", names)


def _names(tools: Any) -> Iterator[str]:
    """The tools by name; OpenAI's own are named by their type."""
    for tool in tools if isinstance(tools, list) else ():
        name = _name(tool) or (tool.get("type") if isinstance(tool, dict) else tool)
        if isinstance(name, str):
            yield name


def _name(given: Any) -> str | None:
    match given:
        case {"name": str(name)} | {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            return name or None
    return None
