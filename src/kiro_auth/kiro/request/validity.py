"""What of a history the service accepts as it is: the rules are in `repair`, which mends what breaks them.

Agents keep to them in nearly all of a history, so that is looked at in one pass, and left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

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


def has_words(text: str) -> bool:
    """Whether anything is left of it without white space and lone surrogates, which cannot be sent."""
    return _WORD.search(text) is not None


def valid_beginning(messages: Sequence[Message]) -> tuple[int, list[str]]:
    """How many messages stand as they are, whatever comes after them, and the ids of the calls in them.

    All of them, or those before a turn of the model's that is right itself: nothing is joined to them then.
    """
    stand, known = 0, 0
    ids: list[str] = []
    seen: set[str] = set()
    calls: list[str] = []
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
    speaks = bool(calls)
    if calls:
        answers, blocks = blocks[: len(calls)], blocks[len(calls) :]
        if [block.call_id for block in answers if isinstance(block, ToolResult)] != calls:
            return False
    for block in blocks:
        match block:
            case Text() if has_words(block.text):
                speaks = True
            case Image() | Document():
                pass
            case _:
                return False
    return speaks


def _is_models_turn(blocks: Iterable[Block], calls: list[str]) -> bool:
    """Whether it says something or calls, in the right order; the ids of its calls are added."""
    speaks = False
    for block in blocks:
        match block:
            case Text() if not calls and has_words(block.text):
                speaks = True
            case ToolCall() if LEGAL_ID.fullmatch(block.id):
                calls.append(block.id)
            case Reasoning() | RedactedReasoning() if not speaks and not calls:
                pass
            case _:
                return False
    return speaks or bool(calls)
