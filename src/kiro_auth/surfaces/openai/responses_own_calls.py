"""Calls of OpenAI's own tools as items of the Responses API, written and read back.

The model calls them like functions.  A client wants items of their own types with the fields that the SDK
requires (OpenAI's Python SDK 3.57), so what the model left out is filled in with the least that is legal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kiro_auth.conversation import Block, CallReady, Role, Text, ToolCall, ToolResult
from kiro_auth.surfaces.decoding import call_input

_PREFIXES: Final = {"shell": "sh", "local_shell": "lsh", "apply_patch": "apc", "tool_search": "tsc"}
"""How the ids of such items begin, by the kind of the tool."""
_CALLS: Final = {
    # type of the item: the tool, and the field with its input
    "shell_call": ("shell", "action"),
    "local_shell_call": ("local_shell", "action"),
    "apply_patch_call": ("apply_patch", "operation"),
    "tool_search_call": ("tool_search", "arguments"),
}
_OUTPUTS: Final = tuple(f"{kind}_output" for kind in _CALLS if kind != "tool_search_call")


# ------------------------------------------------------------------------------------------ written


def has_own_item(kind: str) -> bool:
    """Whether the calls of tools of this kind are items of a type of their own."""
    return kind in _PREFIXES


def own_item(kind: str, call: CallReady) -> tuple[str, dict[str, Any]]:
    """How the item's id begins, and the item without its id and status."""
    given: dict[str, Any] = msgspec.json.decode(call.arguments)
    item: dict[str, Any] = {"type": f"{kind}_call", "call_id": call.id}
    match kind:
        case "shell":
            commands = _texts(given.get("commands", given.get("command")))
            item["action"] = {"commands": commands} | _numbers(given, "timeout_ms", "max_output_length")
        case "local_shell":
            env = given.get("env")
            action: dict[str, Any] = {
                "type": "exec",
                "command": _texts(given.get("command", given.get("commands"))),
                "env": {k: str(v) for k, v in env.items()} if isinstance(env, dict) else {},
            }
            names = ("working_directory", "user")
            words = {name: given[name] for name in names if isinstance(given.get(name), str)}
            item["action"] = action | _numbers(given, "timeout_ms") | words
        case "apply_patch":
            item["operation"] = _operation(given)
        case _:
            item |= {"execution": "client", "arguments": given}
    return _PREFIXES[kind], item


def _operation(given: Mapping[str, Any]) -> dict[str, Any]:
    inner = given.get("operation")
    given = inner if isinstance(inner, dict) else given
    kind = given.get("type")
    kind = kind if kind in ("create_file", "delete_file") else "update_file"
    path = {"type": kind, "path": str(given.get("path", ""))}
    return path if kind == "delete_file" else {**path, "diff": str(given.get("diff", ""))}


def _texts(given: Any) -> list[str]:
    if isinstance(given, list):
        return [part if isinstance(part, str) else json.dumps(part) for part in given]
    return [given] if isinstance(given, str) else []


def _numbers(given: Mapping[str, Any], *names: str) -> dict[str, int]:
    return {name: given[name] for name in names if type(given.get(name)) is int}


# ---------------------------------------------------------------------------------------- read back


def own_call(item: Mapping[str, Any]) -> tuple[Role, list[Block]] | None:
    """The call or the result that an item of such a type is; None for other types, or without an id."""
    kind, call_id = item.get("type"), item.get("call_id")
    if not isinstance(kind, str):
        return None
    if kind in _CALLS and isinstance(call_id, str):
        name, field = _CALLS[kind]
        return "assistant", [ToolCall(call_id, name, _without_type(kind, call_input(item.get(field))))]
    if kind in _OUTPUTS and (call_id := _answered(item)):
        failed = item.get("status") == "failed"
        return "user", [ToolResult(call_id, (Text(_words(item.get("output"))),), is_error=failed)]
    return None


def _answered(item: Mapping[str, Any]) -> str | None:
    """The call that an output answers; that of a local shell may name it, or its item, in `id` alone."""
    match item:
        case {"call_id": str(id_)}:
            return id_
        case {"type": "local_shell_call_output", "id": str(id_)}:
            return id_.removeprefix(f"{_PREFIXES['local_shell']}_")
    return None


def _without_type(kind: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's own input again: that a command is run it did not say."""
    if kind != "local_shell_call":
        return given
    return {name: value for name, value in given.items() if (name, value) != ("type", "exec")}


def _words(output: Any) -> str:
    if output is None:
        return ""
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
