"""The tools that Anthropic defines and the client runs: bash, the text editor, memory, the computer.

A request names them by type and date alone, as Anthropic's models know them by heart.  Kiro wants a schema,
so the published parameters of each version stand here (Anthropic's documentation of each tool; the commands
of `memory` also in its Python SDK 2.13).  A version that is newer than those known has the newest's.  Calls
go back as `tool_use` like any other's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from kiro_auth.conversation import Tool
from kiro_auth.surfaces.tools.schemas import list_of, object_of, of_type, one_of, text, whole

_TYPE: Final = r"(bash|text_editor|memory|computer_toolset|computer)_(\d{8})"

_PATH: Final = text("The path of the file or folder.")
_POINT: Final = list_of(whole(), "The point, x and y, in pixels from the upper left corner.", length=2)
_LINES: Final = list_of(whole(), "Of a file, the first and the last line to show; -1 is the end.", length=2)


def anthropic_tools(kind: str, given: Mapping[str, Any]) -> tuple[Tool, ...] | None:
    """The tools behind a `tools` entry of that type; None for a type that is none of these."""
    match = re.fullmatch(_TYPE, kind)
    if match is None:
        return None
    return tuple(_MADE[match[1]](int(match[2]), given))


def _named(given: Mapping[str, Any], usual: str) -> str:
    name = given.get("name")
    return name if isinstance(name, str) and name else usual


def _bash(_: int, given: Mapping[str, Any]) -> Iterator[Tool]:
    properties = {
        "command": text("The command to run. Required, unless the shell is restarted."),
        "restart": of_type("boolean", "True restarts the shell."),
    }
    description = "Runs commands in a bash shell that stays the same from call to call."
    yield Tool(_named(given, "bash"), description, object_of(properties))


def _text_editor(version: int, given: Mapping[str, Any]) -> Iterator[Tool]:
    commands = ["view", "create", "str_replace", "insert"]
    later = version >= 20250429
    if not later:
        commands.append("undo_edit")
    inserted = "insert_text" if later else "new_str"
    properties = {
        "command": one_of(*commands),
        "path": _PATH,
        "file_text": text("For create: the content of the new file."),
        "old_str": text("For str_replace: the text to replace, exactly as it stands, once in the file."),
        "new_str": text("For str_replace: the text to put in its place."),
        "insert_line": whole("For insert: the line after which the text is put; 0 is the beginning."),
        "view_range": _LINES,
    }
    words = "For insert: the text to put in."
    properties[inserted] = text(words if later else f"{properties['new_str']['description']} {words}")
    name = "str_replace_based_edit_tool" if later else "str_replace_editor"
    description = "Views, creates and edits text files, and lists folders."
    limit = given.get("max_characters")
    if isinstance(limit, int):
        description += f" A view shows at most {limit} characters."
    yield Tool(_named(given, name), description, object_of(properties, "command", "path"))


def _memory(_: int, given: Mapping[str, Any]) -> Iterator[Tool]:
    properties = {
        "command": one_of("view", "create", "str_replace", "insert", "delete", "rename"),
        "path": text("For every command but rename: the path of the file or folder, below /memories."),
        "view_range": _LINES,
        "file_text": text("For create: the content of the file."),
        "old_str": text("For str_replace: the text to replace."),
        "new_str": text("For str_replace: the text to put in its place."),
        "insert_line": whole("For insert: the line after which the text is put."),
        "insert_text": text("For insert: the text to put in."),
        "old_path": text("For rename: the path as it is."),
        "new_path": text("For rename: the path as it is to be."),
    }
    description = (
        "Keeps notes in files below /memories that outlast this conversation. View /memories before you "
        "begin a task, and note what a later conversation will need, as this one may end at any time."
    )
    yield Tool(_named(given, "memory"), description, object_of(properties, "command"))


# -------------------------------------------------------------------------------------- the computer

_FIRST_ACTIONS: Final = (
    *("key", "type", "mouse_move", "left_click", "left_click_drag", "right_click"),
    *("middle_click", "double_click", "screenshot", "cursor_position"),
)
_ACTIONS_OF_2025: Final = ("hold_key", "left_mouse_down", "left_mouse_up", "triple_click", "scroll", "wait")
_PROPERTIES: Final[Mapping[str, Any]] = {
    "coordinate": _POINT,
    "text": text("The text to type, or the keys in the words of xdotool, such as ctrl+s."),
    "start_coordinate": list_of(whole(), "Where a drag begins, x and y.", length=2),
    "scroll_direction": one_of("up", "down", "left", "right"),
    "scroll_amount": whole("How many steps to scroll."),
    "duration": of_type("number", "Seconds to hold a key or to wait."),
    "region": list_of(whole(), "The part to look at closely: x and y of two corners.", length=4),
}
_OF_2025: Final = ("start_coordinate", "scroll_direction", "scroll_amount", "duration")


def _computer(version: int, given: Mapping[str, Any]) -> Iterator[Tool]:
    actions, left_out = list(_FIRST_ACTIONS), {"region"}
    if version >= 20250124:
        actions += _ACTIONS_OF_2025
    else:
        left_out |= set(_OF_2025)
    if version >= 20251124 and given.get("enable_zoom") is True:
        actions.append("zoom")
        left_out.discard("region")
    properties = {name: schema for name, schema in _PROPERTIES.items() if name not in left_out}
    schema = object_of({"action": one_of(*actions), **properties}, "action")
    yield Tool(_named(given, "computer"), f"Uses mouse, keyboard and screen.{_screen(given)}", schema)


def _screen(given: Mapping[str, Any]) -> str:
    match given:
        case {"display_width_px": int(width), "display_height_px": int(height)}:
            return f" The screen is {width} pixels wide and {height} high."
    return ""


_CLICK: Final = ("coordinate", "text")
_MEMBERS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    # name: its parameters, and those of them that are required
    "screenshot": ((), ()),
    "zoom": (("region",), ("region",)),
    "cursor_position": ((), ()),
    "mouse_move": (("coordinate",), ("coordinate",)),
    "left_click": (_CLICK, ()),
    "right_click": (_CLICK, ()),
    "middle_click": (_CLICK, ()),
    "double_click": (_CLICK, ()),
    "triple_click": (_CLICK, ()),
    "left_click_drag": (("start_coordinate", "coordinate", "text"), ("start_coordinate", "coordinate")),
    "left_mouse_down": ((), ()),
    "left_mouse_up": ((), ()),
    "scroll": (
        ("coordinate", "scroll_direction", "scroll_amount", "text"),
        ("scroll_direction", "scroll_amount"),
    ),
    "type": (("text",), ("text",)),
    "key": (("text",), ("text",)),
    "hold_key": (("text", "duration"), ("text", "duration")),
    "wait": (("duration",), ("duration",)),
}


def _computer_toolset(_: int, given: Mapping[str, Any]) -> Iterator[Tool]:
    """A tool for each action; `configs` turns single ones off."""
    given_configs = given.get("configs")
    configs = given_configs if isinstance(given_configs, dict) else {}
    for name, (parameters, required) in _MEMBERS.items():
        config = configs.get(name)
        if isinstance(config, dict) and config.get("enabled") is False:
            continue
        schema = object_of({parameter: _PROPERTIES[parameter] for parameter in parameters}, *required)
        yield Tool(name, f"Of the computer that you use: {name.replace('_', ' ')}.", schema)


_MADE: Final[Mapping[str, Callable[[int, Mapping[str, Any]], Iterator[Tool]]]] = {
    "bash": _bash,
    "text_editor": _text_editor,
    "memory": _memory,
    "computer": _computer,
    "computer_toolset": _computer_toolset,
}
