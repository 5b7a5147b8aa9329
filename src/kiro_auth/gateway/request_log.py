"""The log of requests that people may switch on: one line a turn, as JSON, to see what happened and why.

It is safe by what it takes, not by what it cuts out: figures, names of models and accounts, codes.  No words
of a conversation, no names of files or tools, no tokens, no whole e-mails are ever written.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.conversation import Usage
from kiro_auth.events import Answered, Asked, End, Failed, Left, Served, Stopped, TurnEnded
from kiro_auth.gateway.log_file import LogFile
from kiro_auth.regular_files import make_folder

FILE: Final = "requests.jsonl"
BYTES: Final = 2_000_000
"""Of the file; when it is full it becomes `requests.jsonl.1`, in the place of the one before."""
_LONGEST: Final = 80  # characters of a model's name, which is the client's


class RequestLog:
    """Appends to a file, mode 0600, bounded."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._handler = LogFile(path, BYTES)

    def on_turn_ended(self, turn: TurnEnded) -> None:
        """Add one line; the time is put first."""
        time = datetime.fromtimestamp(turn.when, UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": time, **entry(turn)}).decode()
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


def entry(turn: TurnEnded) -> dict[str, Any]:
    """What is written of a turn, in the order of the line; what is not known is left out."""
    asked, served = turn.asked, turn.served
    fields = {
        "id": turn.request_id or None,
        "api": turn.surface,
        **(_asked(asked) if asked else {}),
        "bound": turn.bound,
        **(_served(served) if served else {}),
        "mended": turn.repairs or None,
        "before": [failure.code for failure in turn.attempts] or None,
        **_ended(turn.end),
        **(_used(turn.usage) if turn.usage else {}),
        "seconds": round(turn.seconds, 3),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _asked(asked: Asked) -> dict[str, Any]:
    return {
        "kind": asked.kind,
        "model": asked.model[:_LONGEST],
        "stream": asked.stream,
        "messages": asked.messages,
        "tools": asked.tools,
        "images": asked.images,
        "documents": asked.documents,
        "size": asked.size,
    }


def _served(served: Served) -> dict[str, Any]:
    instead = served.instead
    return {
        "account": served.account_name,
        "served": served.model,
        "insteadOf": instead.model[:_LONGEST] if instead else None,
        "because": instead.failure.code if instead else None,
    }


def _ended(end: End) -> dict[str, Any]:
    match end:
        case Answered(reason):
            return {"ended": reason}
        case Failed(failure):  # codes only; the sentence may quote the service
            codes = {"failure": failure.code, "reason": failure.reason, "request": failure.request_id}
            return {"ended": "failed", **codes}
        case Left():
            return {"ended": "the client left"}
        case Stopped():
            return {"ended": "the gateway stopped"}


def _used(usage: Usage) -> dict[str, Any]:
    return {
        "input": usage.input.value,
        "inputSource": usage.input.source,
        "output": usage.output.value,
        "outputSource": usage.output.source,
        "cacheRead": usage.cache_read,
        "cacheWrite": usage.cache_write,
        "credits": usage.credits,
        "searches": usage.searches or None,
    }
