"""The forms of which a stream of the Responses API is made: its events, the response, its error."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kiro_auth.failures import DEFECT, Failure
from kiro_auth.surfaces.waiting import final_text

_CODES: Final = {
    "KA-OVERFLOW": "context_length_exceeded",
    "KA-QUOTA": "insufficient_quota",
    "KA-OVERAGE": "insufficient_quota",
}
"""What Codex takes for final, in its own words; it repeats a request after `server_error`."""

_json: Final = msgspec.json.Encoder().encode


def envelope(model: str, reply_id: str, created: int) -> dict[str, Any]:
    """A response of which nothing is said yet."""
    return {
        "id": f"resp_{reply_id}",
        "object": "response",
        "created_at": created,
        "model": model,
        "status": "in_progress",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "store": False,
        "error": None,
        "incomplete_details": None,
        "usage": None,
    }


def as_event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **fields}))


def as_error(failure: Failure) -> dict[str, Any]:
    """What a response says of the failure that ended it."""
    usual = "server_error" if failure.entry.passing else "invalid_prompt"
    return {"code": _CODES.get(failure.code, usual), "message": final_text(failure)}


LAST_WORDS: Final = as_event(
    "response.failed",
    sequence_number=2**31 - 1,
    response={**envelope("", "ended", 0), "status": "failed", "error": as_error(DEFECT)},
)
"""See `Surface`; nobody knows the number of the event before it."""
