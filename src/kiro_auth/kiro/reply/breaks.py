"""Why a reply ends before its end, as failures."""

from __future__ import annotations

import msgspec

from kiro_auth.failures import Failure
from kiro_auth.kiro.faults import classify_exception
from kiro_auth.kiro.reply.eventstream import Frame


def is_exception(frame: Frame) -> bool:
    """Whether the service says with this frame that it cannot go on."""
    headers = frame.headers
    return headers.get(":event-type") == "error" or headers.get(":message-type") in ("exception", "error")


def exception_in(frame: Frame) -> Failure:
    """What a frame means that is an exception; its payload may be empty and its message a header."""
    headers = frame.headers
    name = headers.get(":exception-type") or headers.get(":error-code") or "error"
    message = str(headers.get(":error-message", ""))
    return classify_exception(str(name), frame.payload or msgspec.json.encode({"message": message}))


def cut(message: str) -> Failure:
    """That the line or the service ended the reply, not the model."""
    return Failure(code="KA-CUT", message=message, next_step="Repeat the request.")
