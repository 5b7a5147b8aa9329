"""Texts of others, for a page: they are data, in one line of bounded length; figures as people read them."""

from __future__ import annotations

import re
from typing import Final

_UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
"""Control characters, and those that do not show or turn the direction of text."""
_LONGEST: Final = 600


def clean(text: str) -> str:
    """The text in one line, without characters that do not show."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def credits_in_words(amount: float) -> str:
    """So many credits; small amounts with two decimals."""
    figure = f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"
    return f"{figure} credit{'' if figure == '1.00' else 's'}"


def seconds_in_words(seconds: float) -> str:
    """A duration, such as "2.4 s" or "3 min"."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
