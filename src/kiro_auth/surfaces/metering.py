"""What a reply cost, in the usage object of every API: an extension, as none of them has a place for it."""

from __future__ import annotations

from typing import Any, Final

from kiro_auth.reply_usage import Usage

FIELD: Final = "kiro_credits"
"""Beside the counts of tokens.  The official SDKs and the AI SDK take fields that they do not know."""
_DIGITS: Final = 6
"""Behind the point: sums of the service's figures have no more that mean something."""


def metered(usage: Usage) -> dict[str, Any]:
    """The field, if the service said what it metered."""
    return {} if usage.credits is None else {FIELD: round(usage.credits, _DIGITS)}
