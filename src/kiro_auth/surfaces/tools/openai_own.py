"""The tools that OpenAI defines and the client runs: its shells, the patch tool, and its search for tools.

Their parameters are those of the calls that clients expect back (OpenAI's Python SDK 3.57:
`response_function_shell_tool_call`, `response_output_item`, `response_apply_patch_tool_call`); how a call
becomes such an item is a matter of the Responses API.  The diffs are in OpenAI's own V4A form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from kiro_auth.conversation import Tool
from kiro_auth.surfaces.decoding import schema_of
from kiro_auth.surfaces.tools.schemas import list_of, object_of, one_of, text, whole

_TIMEOUT: Final = whole("The longest that it may take, in milliseconds.")

_SHELL: Final = Tool(
    "shell",
    "Runs shell commands on the user's machine, one after another, and returns what they print.",
    object_of(
        {
            "commands": list_of(text(), "The commands, in their order."),
            "timeout_ms": _TIMEOUT,
            "max_output_length": whole("The most characters of output to return."),
        },
        "commands",
    ),
    kind="shell",
)
_LOCAL_SHELL: Final = Tool(
    "local_shell",
    "Runs one command on the user's machine and returns what it prints.",
    object_of(
        {
            "command": list_of(text(), 'The program and its arguments, such as ["bash", "-lc", "ls"].'),
            "env": {**object_of({}), "additionalProperties": text(), "description": "Variables to set."},
            "working_directory": text("The folder to run it in."),
            "timeout_ms": _TIMEOUT,
            "user": text("The user to run it as."),
        },
        "command",
    ),
    kind="local_shell",
)
_APPLY_PATCH: Final = Tool(
    "apply_patch",
    "Creates, changes or deletes one file. The diff has no file header: of a new file each line begins with "
    "+; of a change each section begins with a line @@, which may name the class or function, then lines "
    "that begin with a space (as it is), - (taken away) or + (put in), with three lines around each change.",
    object_of(
        {
            "type": one_of("create_file", "update_file", "delete_file"),
            "path": text("The path of the file, relative to the workspace."),
            "diff": text("For create_file and update_file: the diff."),
        },
        "type",
        "path",
    ),
    kind="apply_patch",
)
_TOOLS: Final = {tool.kind: tool for tool in (_SHELL, _LOCAL_SHELL, _APPLY_PATCH)}


def openai_tools(kind: str, given: Mapping[str, Any]) -> tuple[Tool, ...] | None:
    """The tools behind a `tools` entry of that type; None for one that is none of these or runs elsewhere."""
    if kind == "tool_search" and given.get("execution") == "client":
        description = given.get("description")
        words = description if isinstance(description, str) else "Finds more tools."
        return (Tool(kind, words, schema_of(given.get("parameters")), kind=kind),)
    environment = given.get("environment")
    environment = environment if isinstance(environment, dict) else {}
    if environment.get("type", "local") != "local":  # a container of OpenAI's
        return None
    tool = _TOOLS.get(kind)
    return None if tool is None else (replace(tool, description=tool.description + _skills(environment)),)


def _skills(environment: Mapping[str, Any]) -> str:
    """What the client's folders of instructions are about, and where they are."""
    skills = environment.get("skills")
    folders = [
        f"{skill['name']} ({skill.get('path')}): {skill.get('description')}"
        for skill in (skills if isinstance(skills, list) else ())
        if isinstance(skill, dict) and "name" in skill
    ]
    if not folders:
        return ""
    return "\n\nFolders with instructions for some tasks, to be read with it first:\n" + "\n".join(folders)
