"""What of a history the service accepts as it is: the rules are in `repair`, which mends what breaks them.

Agents keep to them in nearly all of a history, so that is looked at in one pass, and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, cast

from kiro_auth.conversation import (
    Block,
    Document,
    Image,
    Message,
    Reasoning,
    RedactedReasoning,
    Text,
    ToolCall,
    ToolResult,
)

LEGAL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The ids of calls in the model of the official streaming client 1.0.45."""
_WORD: Final = re.compile(r"[^\s\ud800-\udfff]")
_MEDIA: Final = (Image, Document)
_REASONING: Final = (Reasoning, RedactedReasoning)


def has_words(text: str) -> bool:
    """Whether anything is left of it without white space and lone surrogates, which cannot be sent."""
    return _WORD.search(text) is not None


def valid_beginning(messages: Sequence[Message]) -> tuple[int, list[str]]:
    """How many messages stand as they are, whatever comes after them, and the ids of the calls in them.

    All of them, or those before a turn of the model's that is right itself, so that nothing is joined to them.
    """
    stand, known = 0, 0
    ids, seen, calls = list[str](), set[str](), list[str]()
    for number, message in enumerate(messages):
        if number % 2 == 0:
            if message.role != "user" or not _is_users_turn(message.content, calls):
                break
        else:
            calls = []
            if message.role != "assistant" or not _is_models_turn(message.content, calls):
                break
            stand, known = number, len(ids)
            ids += calls
            seen.update(calls)
            if len(seen) < len(ids):
                break
    else:
        if len(messages) % 2:
            return len(messages), ids
    return stand, ids[:known]


def _is_users_turn(blocks: Sequence[Block], calls: Sequence[str]) -> bool:
    """Whether it answers these calls in their order, and says something."""
    if len(blocks) < len(calls):
        return False
    for block, id_ in zip(blocks, calls, strict=False):
        if type(block) is not ToolResult or block.call_id != id_:
            return False
    speaks = bool(calls)
    for block in blocks[len(calls) :]:
        if type(block) is Text and has_words(block.text):
            speaks = True
        elif type(block) not in _MEDIA:
            return False
    return speaks


def _is_models_turn(blocks: Iterable[Block], calls: list[str]) -> bool:
    """Whether it says something or calls, in the right order; the ids of its calls are added."""
    spoken = False
    for block in blocks:
        kind = type(block)
        if kind is Text and not calls and has_words(cast("Text", block).text):
            spoken = True
        elif kind is ToolCall and LEGAL_ID.fullmatch(id_ := cast("ToolCall", block).id):
            calls.append(id_)
        elif kind not in _REASONING or spoken or calls:
            return False
    return spoken or bool(calls)
