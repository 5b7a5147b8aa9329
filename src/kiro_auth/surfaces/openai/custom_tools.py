"""Custom tools of OpenAI's APIs: what they take is free text, not JSON.

Kiro's tools all take an object.  So a custom tool goes there as one that takes a single text, and out of the
model's call that text is given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import Conversation, Tool

_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "All that the tool takes, as plain text."}},
    "required": ["input"],
}
_SCHEMAS: Final = {"input_schema", "parameters"}
"""With one of these a tool of the type `custom` is a function: Anthropic's type for those."""
_NONE: Final[frozenset[str]] = frozenset()
_SYNTAXES: Final = {"lark": "Lark grammar", "regex": "regular expression"}


class _Input(Struct, forbid_unknown_fields=True):
    input: str


_decode_input: Final = msgspec.json.Decoder(_Input).decode


def custom_tool_of(given: Any) -> Tool | None:
    """The custom tool that a `tools` entry is, as Chat Completions nests it or Responses has it; else None.

    Kiro holds no model to a grammar, so the model is told of it in words.
    """
    match given:
        case {"custom": {"name": str(name), **fields}} if name:
            pass
        case {"type": "custom", "name": str(name), **fields} if name and not _SCHEMAS & fields.keys():
            pass
        case _:
            return None
    described = fields.get("description")
    description = described if isinstance(described, str) else ""
    match fields.get("format"):
        case {"type": "grammar", "grammar": {"definition": str(grammar), **more}}:  # Chat Completions
            description = _with_grammar(description, grammar, more.get("syntax"))
        case {"type": "grammar", "definition": str(grammar), **more}:  # Responses
            description = _with_grammar(description, grammar, more.get("syntax"))
    return Tool(name, description, _SCHEMA, kind="custom")


def _with_grammar(description: str, grammar: str, syntax: Any) -> str:
    kind = _SYNTAXES.get(syntax, "grammar") if isinstance(syntax, str) else "grammar"
    return f"{description}\n\nThe input must match this {kind}:\n\n{grammar}".lstrip()


def free_text(arguments: str) -> str:
    """The text of a call; all of the JSON if the model did not keep to the schema."""
    try:
        return _decode_input(arguments).input
    except msgspec.MsgspecError:
        return arguments


def custom_names(conversation: Conversation) -> frozenset[str]:
    """The tools whose calls the client wants as free text."""
    return frozenset(tool.name for tool in conversation.tools if tool.kind == "custom") or _NONE
