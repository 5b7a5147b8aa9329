"""The log of requests that people may switch on: one line a turn, as JSON, to see what happened and why.

It is safe by what it takes, not by what it cuts out: figures, names of models and accounts, codes.  No words
of a conversation, no names of files or tools, no tokens, no e-mails are ever handed to it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro_auth.conversation import Conversation, Document, Failed, Finished, Image, ReplyEvent, ToolResult
from kiro_auth.failures import Failure
from kiro_auth.kiro.repair import Repair

FILE: Final = "requests.jsonl"
BYTES: Final = 2_000_000
"""Of the file; when it is full it becomes `requests.jsonl.1`, in the place of the one before."""
_LONGEST: Final = 80  # characters of a model's name, which is the client's


class RequestLog:
    """Appends to a file, mode 0600, bounded."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._handler = _PrivateFile(path, maxBytes=BYTES, backupCount=1, encoding="utf-8")

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add one line; the time is put first."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = msgspec.json.encode({"time": now, **entry}).decode()
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> Any:
        os.close(os.open(self.baseFilename, os.O_CREAT | os.O_APPEND, 0o600))
        return super()._open()


def asked(path: str, conversation: Conversation) -> dict[str, Any]:
    """What a request was, in figures."""
    blocks = [block for message in conversation.messages for block in message.content]
    parts = [
        part for block in blocks for part in (block.content if isinstance(block, ToolResult) else [block])
    ]
    kind = {} if conversation.kind is None else {"kind": conversation.kind}
    return {
        "api": path,
        **kind,
        "model": conversation.model[:_LONGEST],
        "stream": conversation.stream,
        "messages": len(conversation.messages),
        "tools": len(conversation.tools),
        "images": sum(isinstance(part, Image) for part in parts),
        "documents": sum(isinstance(part, Document) for part in parts),
    }


def answered(outcome: ReplyEvent | None) -> dict[str, Any]:
    """How a turn ended, and what it used."""
    if not isinstance(outcome, Finished | Failed):
        return {"ended": "the client left"}
    usage = outcome.usage
    used = {
        "input": usage.input.value,
        "inputSource": usage.input.source,
        "output": usage.output.value,
        "outputSource": usage.output.source,
        "cacheRead": usage.cache_read,
        "cacheWrite": usage.cache_write,
        "credits": usage.credits,
    }
    ended = {"ended": outcome.reason} if isinstance(outcome, Finished) else failed(outcome.failure)
    return {**ended, **{name: value for name, value in used.items() if value is not None}}


def failed(failure: Failure) -> dict[str, Any]:
    """What went wrong, by its codes; its sentence may quote the service."""
    found = {
        "ended": "failed",
        "failure": failure.code,
        "reason": failure.reason,
        "request": failure.request_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def sent(repairs: Iterable[Repair], earlier: Iterable[Failure]) -> dict[str, Any]:
    """What was mended in the history, and which attempts there were before."""
    mended = sorted({repair.what for repair in repairs})
    before = [failure.code for failure in earlier]
    return {**({"mended": mended} if mended else {}), **({"before": before} if before else {})}
