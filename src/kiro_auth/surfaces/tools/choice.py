"""Which tool the model may or must call, in the words of any of the three APIs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kiro_auth.conversation import Tool, ToolChoice
from kiro_auth.surfaces.decoding import refused
from kiro_auth.surfaces.tools.web_search import NAME, is_web_search


def _its_name(tool: Tool) -> str:
    return tool.name


def tool_choice(given: Any, tools: Iterable[Tool], own_name: Callable[[Tool], str] = _its_name) -> ToolChoice:
    """A word, or an object that names a tool or those that are allowed.

    The makers' own tools are named by their type.  `own_name` says what clients call a tool whose name is
    made of more.  Raises TurnFailed (KA-REQUEST) naming the field for anything else.
    """
    choice = _read(given)
    names = tuple(_called(choice.names, tools, own_name)) if choice.names else ()
    if choice.names and not names:
        # Of those that are only allowed none is there; of a call that is asked for the model is told so.
        return choice if choice.mode == "required" else ToolChoice("none")
    return ToolChoice(choice.mode, names)


def wants_one_call(given: Any, parallel: Any = None) -> bool:
    """Whether an answer may call one tool at most: Anthropic says it in the choice, OpenAI beside it."""
    return parallel is False or (isinstance(given, dict) and given.get("disable_parallel_tool_use") is True)


def _called(
    names: Iterable[str], tools: Iterable[Tool], own_name: Callable[[Tool], str]
) -> Mapping[str, None]:
    """The names of the tools that a choice means by these."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for tool in tools:
        by_name[tool.name].append(tool.name)
        by_name[own_name(tool)].append(tool.name)
        by_kind[tool.kind].append(tool.name)
    called: dict[str, None] = {}
    for named in dict.fromkeys(names):
        called |= dict.fromkeys(by_name.get(named, ()))
        called |= dict.fromkeys(by_kind.get(NAME if is_web_search(named) else named, ()))
    return called


def _read(given: Any) -> ToolChoice:
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
    """The tools by name; the makers' own are named by their type."""
    for tool in tools if isinstance(tools, list) else ():
        name = _name(tool) or (tool.get("type") if isinstance(tool, dict) else tool)
        if isinstance(name, str):
            yield name


def _name(given: Any) -> str | None:
    match given:
        case {"name": str(name)} | {"function": {"name": str(name)}} | {"custom": {"name": str(name)}}:
            return name or None
    return None
