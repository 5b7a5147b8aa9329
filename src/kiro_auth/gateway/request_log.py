"""The log of requests that people may switch on: one line a turn, as JSON, to see what happened and why.

It is safe by what it takes, not by what it cuts out: figures, names of models and accounts, codes.  No words
of a conversation, no names of files or tools, no tokens, no whole e-mails are ever written.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.events import Answered, Asked, End, Failed, Left, Served, Stopped, TurnEnded
from kiro_auth.gateway.log_file import LogFile
from kiro_auth.gateway.log_lines import moment
from kiro_auth.regular_files import make_folder
from kiro_auth.reply_usage import Usage

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
        line = msgspec.json.encode({"time": moment(turn.when), **entry(turn)}).decode()
        self._handler.emit(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


class _Entry(Struct, omit_defaults=True, rename="camel"):
    """One line, in its order; what is not known is left out.  It is filled in by the functions below."""

    id: str | None = None
    api: str | None = None
    kind: str | None = None
    model: str | None = None
    stream: bool | None = None
    messages: int | None = None
    tools: int | None = None
    images: int | None = None
    documents: int | None = None
    size: int | None = None
    bound: str | None = None
    account: str | None = None
    served: str | None = None
    instead_of: str | None = None
    because: str | None = None
    mended: tuple[str, ...] | None = None
    before: list[str] | None = None
    ended: str | None = None
    failure: str | None = None
    reason: str | None = None
    request: str | None = None
    input: int | None = None
    input_source: str | None = None
    output: int | None = None
    output_source: str | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    credits: float | None = None
    searches: int | None = None
    seconds: float | None = None


def entry(turn: TurnEnded) -> dict[str, Any]:
    """What is written of a turn, in the order of the line; what is not known is left out."""
    line = _Entry(
        id=turn.request_id or None,
        api=turn.surface,
        bound=turn.bound,
        mended=turn.repairs or None,
        seconds=round(turn.seconds, 3),
    )
    if turn.attempts:
        line.before = [failure.code for failure in turn.attempts]
    if turn.asked is not None:
        _add_asked(line, turn.asked)
    if turn.served is not None:
        _add_served(line, turn.served)
    _add_end(line, turn.end)
    if turn.usage is not None:
        _add_usage(line, turn.usage)
    known: dict[str, Any] = msgspec.to_builtins(line)
    return known


def _add_asked(line: _Entry, asked: Asked) -> None:
    line.kind = asked.kind
    line.model = asked.model[:_LONGEST]
    line.stream = asked.stream
    line.messages = asked.messages
    line.tools = asked.tools
    line.images = asked.images
    line.documents = asked.documents
    line.size = asked.size


def _add_served(line: _Entry, served: Served) -> None:
    line.account = served.account_name
    line.served = served.model
    if served.instead is not None:
        line.instead_of = served.instead.model[:_LONGEST]
        line.because = served.instead.failure.code


def _add_end(line: _Entry, end: End) -> None:
    match end:
        case Answered():
            line.ended = end.reason
        case Failed(failure):  # codes only; the sentence may quote the service
            line.ended = "failed"
            line.failure, line.reason, line.request = failure.code, failure.reason, failure.request_id
        case Left():
            line.ended = "the client left"
        case Stopped():
            line.ended = "the gateway stopped"


def _add_usage(line: _Entry, usage: Usage) -> None:
    line.input, line.input_source = usage.input.value, usage.input.source
    line.output, line.output_source = usage.output.value, usage.output.source
    line.cache_read, line.cache_write = usage.cache_read, usage.cache_write
    line.credits = usage.credits
    line.searches = usage.searches or None
