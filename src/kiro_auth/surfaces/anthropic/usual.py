"""Long histories as agents write them, in which the results of tools stay as they stand in the body.

Those texts are most of such a request, and nobody here reads them: to make words of their JSON, and JSON of
the words, would be most of the work on it.  What is not exactly of these shapes is left to `history` and
`parts`, which take anything, and make the same of what is of these shapes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from kiro_auth.conversation import (
    Block,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)
from kiro_auth.json_values import WrittenText
from kiro_auth.surfaces.decoding import json_value
from kiro_auth.surfaces.parts import Content, contents


class _Part(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True, gc=False):
    cache_control: Any = None


class _Text(_Part, tag="text", gc=False):
    text: str


class _ToolUse(_Part, tag="tool_use", gc=False):
    id: str
    name: Annotated[str, Meta(min_length=1)]
    input: dict[str, Any]


class _ToolResult(_Part, tag="tool_result", gc=False):
    tool_use_id: str
    content: Raw
    is_error: bool = False


class _Thinking(_Part, tag="thinking", gc=False):
    thinking: str
    signature: str = ""


class _RedactedThinking(_Part, tag="redacted_thinking", gc=False):
    data: str


_AnyPart: TypeAlias = _Text | _ToolUse | _ToolResult | _Thinking | _RedactedThinking


class UsualMessage(Struct, forbid_unknown_fields=True, gc=False):
    """A message in which nothing is out of the common."""

    role: Literal["user", "assistant"]
    content: str | list[_AnyPart]

    def read(self) -> Message:
        """What it says.  Raises UnicodeDecodeError for a result that is not UTF-8."""
        if isinstance(self.content, str):
            return Message(self.role, (Text(self.content),))
        return Message(self.role, tuple([_block(part) for part in self.content]))


UNUSUAL: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""What decoding and reading raises for anything else."""
_ESCAPE: Final = "\\u"
"""How an escape begins that may be half a character, and is longer than what it stands for."""
_message: Final = msgspec.json.Decoder(UsualMessage).decode


def may_stay(body: bytes) -> bool:
    """Whether it is worth while to look for texts that may stay as they are.

    To read and write one that is all ASCII takes no longer than to look at it, and a program that writes
    other letters as escapes has them everywhere.
    """
    return not body.isascii()


def usual_message(written: Raw) -> Message | None:
    """The message, if it is of these shapes."""
    if not may_stay(bytes(written)):
        return None
    try:
        return _message(written).read()
    except UNUSUAL:
        return None


def _block(part: _AnyPart) -> Block:
    match part:
        case _Text():
            return Text(part.text)
        case _ToolResult():
            return ToolResult(part.tool_use_id, _contents(part.content), part.is_error)
        case _ToolUse():
            return ToolCall(part.id, part.name, part.input)
        case _Thinking():
            return Reasoning(part.thinking, part.signature)
        case _RedactedThinking():
            return RedactedReasoning(part.data)


def _contents(written: Raw) -> tuple[Content | WrittenText, ...]:
    """What a result holds; all of its JSON was looked at by now, but for letters and halves of characters."""
    words = str(written, "utf-8")
    if not words.startswith('"'):
        return tuple(contents(json_value(written)))
    if words.rfind(_ESCAPE) >= 0:  # it takes half as long as `find`
        return (Text(json_value(written)),)
    return (WrittenText(written),)
