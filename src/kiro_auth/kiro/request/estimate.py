"""How many tokens an input has, and what of it is what: estimates, as the service says neither."""

from __future__ import annotations

from typing import Final

from kiro_auth.reply_usage import InputParts

_CHARACTERS_OF_A_TOKEN: Final = 3.6
"""An estimate of ours: code and JSON have fewer than plain English, and too many tokens is the safer error.
The service counts by itself, but its `tokenUsage` came in none of 5,691 turns of one report (November
2026)."""


def input_parts(text: int, tools: int, instructions: int, attachments: int) -> InputParts:
    """What an input consists of.

    `text` is all of it in bytes; the `tools` in it are bytes, the `instructions` characters: what of them is
    no ASCII, and takes more bytes, counts as history.  `attachments` are tokens.
    """
    of_tools, of_system = _tokens(tools), _tokens(instructions)
    return InputParts(of_tools, of_system, max(0, _tokens(text) - of_tools - of_system), attachments)


def _tokens(text_bytes: int) -> int:
    return int(text_bytes / _CHARACTERS_OF_A_TOKEN)
