"""Texts of others, for a page: they are data, in one line of bounded length; figures as people read them."""

from __future__ import annotations

from typing import Final

from kiro_auth.texts import bounded, in_one_line, without_secrets

_LONGEST: Final = 600
"""Characters of a text."""


def line(text: str) -> str:
    """The text in one line, without characters that do not show, and without secrets."""
    return bounded(without_secrets(in_one_line(text)), _LONGEST)


def credits_in_words(amount: float) -> str:
    """So many credits; small amounts with two decimals."""
    figure = f"{amount:,.2f}" if amount < 100 else f"{amount:,.0f}"
    return f"{figure} credit{'' if figure == '1.00' else 's'}"
