"""What the service's stop reasons mean; their names and their case vary (2026)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kiro_auth.conversation import StopReason

OVERFLOW: Final = "MODEL_CONTEXT_WINDOW_EXCEEDED"
_OVERRULING: Final[Mapping[str, StopReason]] = {
    "MAX_TOKENS": "length",
    "LENGTH": "length",
    "LENGTH_LIMIT": "length",
    "MAX_TIME": "length",
    "PAUSE_TURN": "length",
    OVERFLOW: "length",
    "CONTENT_FILTERED": "content_filter",
    "GUARDRAIL_INTERVENED": "content_filter",
}
"""Those that overrule what was seen of the answer; under any other the calls decide."""
_STOP_SEQUENCE: Final = "STOP_SEQUENCE"
SILENT: Final = frozenset(
    {"MAX_TOKENS", "LENGTH", "LENGTH_LIMIT", "CONTENT_FILTERED", "GUARDRAIL_INTERVENED"}
)
"""Those under which an empty answer is no accident: it was filtered, or spent on hidden reasoning."""
BROKEN: Final[Mapping[str, str]] = {
    "MALFORMED_MODEL_OUTPUT": "The reply broke off: Kiro could not read what the model wrote.",
    "MALFORMED_TOOL_USE": "The reply broke off: Kiro could not read a tool call that the model wrote.",
}
"""Those under which an answer is not whole, and what to say of it."""


def ending(stop_reason: str, *, called: bool) -> StopReason:
    """How a whole answer ends; `called`: with tool calls."""
    if overruling := _OVERRULING.get(stop_reason):
        return overruling
    if called:
        return "tool_calls"
    return "stop_sequence" if stop_reason == _STOP_SEQUENCE else "end"
