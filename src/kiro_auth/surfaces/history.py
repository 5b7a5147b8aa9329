"""Messages as any of the three APIs writes them: a role, its content, and what OpenAI's APIs put beside it.

No message is refused for what stands in it, only one of which nobody can say whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kiro_auth.conversation import Block, Message, Reasoning, Role, Text
from kiro_auth.surfaces.decoding import json_value, refused
from kiro_auth.surfaces.parts import blocks, call, kept, result, unplaced

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "user",
    "function": "user",
}
_BY_TYPE: Final[Mapping[str, Role]] = {
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "function_call_output": "user",
    "custom_tool_call_output": "user",
}
"""Items of the Responses API that have no role."""

_READ: Final = ("content", "refusal", "tool_calls", "function_call", "reasoning_content")
"""Fields in which a message says something."""


def message(given: Any, where: str) -> Message:
    """One message, or one that was read before.

    Raises TurnFailed (KA-REQUEST) naming `where` when it has no role that is known.
    """
    if isinstance(given, dict) and isinstance(role := given.get("role"), str) and role in _ROLES:
        return Message(_ROLES[role], tuple(_said(role, given)) or tuple(_elsewhere(given)))
    match given:
        case Message():
            return given
        case str(text):
            return Message("user", (Text(text),))
        case {"role": str(role)}:
            roles = ", ".join(_ROLES)
            raise refused(f"`{where}.role` is {role[:40]!r}, but must be one of {roles}.")
        case {"type": str(kind)} if kind in _BY_TYPE:
            return Message(_BY_TYPE[kind], tuple(blocks(given)))
        case {"type": str(kind)} if kind != "message":
            return Message("user", (kept(given, f"An item of the type {kind}:"),))
        case {}:
            raise refused(f"`{where}.role` is missing.")
    raise refused(f"`{where}` must be an object.")


def kept_for(written: msgspec.Raw) -> Any:
    """What is kept of a message for later requests: all of an instruction, which may say more than words."""
    given = json_value(written)
    read = message(given, "messages")
    return given if read.role == "system" else read


def without_instructions(messages: Sequence[Message]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """The words of the instructions before the first turn, and the messages after them.

    Instructions that hold more than words, such as a picture, stay where they are.
    """
    system: list[str] = []
    for number, turn in enumerate(messages):
        words = [block.text for block in turn.content if isinstance(block, Text)]
        if turn.role != "system" or len(words) < len(turn.content):
            return tuple(system), tuple(messages[number:])
        system += [text for text in words if text.strip()]
    return tuple(system), ()


def _said(role: str, given: Mapping[str, Any]) -> Iterator[Block]:
    """What one side said; the model reasons, speaks and calls in this order."""
    if role in ("tool", "function"):
        return _results(given)
    if len(given) == 2 and "content" in given:  # beside the role nothing else, as in Anthropic's API
        return blocks(given["content"])
    return _said_anywhere(given)


def _said_anywhere(given: Mapping[str, Any]) -> Iterator[Block]:
    if isinstance(reasoning := given.get("reasoning_content"), str) and reasoning:
        yield Reasoning(reasoning)
    yield from blocks(given.get("content"))
    if refusal := given.get("refusal"):
        yield Text(str(refusal))
    if old := given.get("function_call"):
        yield call(old)
    calls = given.get("tool_calls")
    for entry in calls if isinstance(calls, list) else [calls] if calls else ():
        yield call(entry)


def _elsewhere(given: Mapping[str, Any]) -> Iterator[Block]:
    """What a message says in fields that no API has, where it says nothing else."""
    if elsewhere := {name: value for name, value in unplaced(given).items() if name not in _READ}:
        yield kept(elsewhere, "A message:")


def _results(given: Mapping[str, Any]) -> Iterator[Block]:
    """The result that a message is, or those that stand in it as Anthropic's blocks."""
    content = given.get("content")
    parts = content if isinstance(content, list) else [content]
    if any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts):
        yield from blocks(content)
    else:
        yield result(given)
