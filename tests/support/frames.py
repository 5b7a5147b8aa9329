"""The service's reply as bytes, frame by frame."""

from __future__ import annotations

import json
from typing import Any

from kiro_auth.kiro.reply.eventstream import encode_frame


def event(kind: str, **payload: Any) -> bytes:
    """One event of a reply."""
    return encode_frame({":message-type": "event", ":event-type": kind}, json.dumps(payload).encode())


def text(content: str) -> bytes:
    """A piece of the answer."""
    return event("assistantResponseEvent", content=content)


END = event("metadataEvent", tokenUsage={"outputTokens": 2}, stopReason="END_TURN") + event(
    "meteringEvent", usage=0.25, unit="credit"
)
"""What a complete reply ends with."""
