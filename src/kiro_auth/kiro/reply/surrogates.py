"""Halves of characters, as text has them that was cut by UTF-16 units and then escaped in JSON.

Strict readers refuse such JSON, and no output can hold such text.
"""

from __future__ import annotations

import json
from typing import Any


def whole(text: str) -> str:
    """The text with two halves that meet as one character, and any other half as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole_json(value: Any) -> str:
    """The JSON text of a value, with whole characters only."""
    return whole(json.dumps(value, ensure_ascii=False))


def ends_in_half(text: str) -> bool:
    """Whether the first half of a pair stands last, so that the second may follow."""
    return "\ud800" <= text[-1:] <= "\udbff"
