"""Replies as steps, which `wire` makes frames of.

A script is a list of small JSON objects:

    {"text": "Hello"}                         {"pause": 0.5}            silence, in seconds
    {"reasoning": "Hm", "signature": "…"}     {"hang": 30}              silence, then the end, unfinished
    {"redacted": "base64"}                    {"cut": "frame"}          or "reset", "clean", "tool"
    {"tool": {"name": "write", "input": {}}}  {"exception": {"type": "ThrottlingException", "reason": "…"}}
    {"event": {"name": "…", "payload": {}}}   {"tail": {"withMetadata": false, "stopReason": "MAX_TOKENS"}}
    {"endless": {"name": "…", "every": 0.1}}  {"drip": 0.1}             a frame byte by byte, never whole
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct


class Text(Struct, frozen=True):
    """Answer text; sent word by word."""

    content: str


class Reasoning(Struct, frozen=True):
    """Reasoning; sent word by word, then its signature: by default the one that belongs to the text."""

    text: str
    signature: str | None = None


class Redacted(Struct, frozen=True):
    """Reasoning that nobody can read, in base64."""

    data: str


class ToolUse(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call; its input is sent in pieces: `fragments` when given, else cuts of the input's JSON."""

    name: str
    input: Mapping[str, Any] = {}
    id: str | None = None
    fragments: Sequence[str] | None = None


class Pause(Struct, frozen=True):
    """Silence, in seconds."""

    seconds: float


class Hang(Struct, frozen=True):
    """Silence, in seconds; then the stream ends without having been finished."""

    seconds: float


class Raise(Struct, frozen=True, forbid_unknown_fields=True):
    """A failure inside the stream; nothing follows it.

    An `exception` holds message and reason as JSON; an `error` holds type and message in its headers.
    """

    type: str
    message: str = ""
    reason: str | None = None
    framing: Literal["exception", "error"] = "exception"


CutKind: TypeAlias = Literal["frame", "reset", "clean", "tool", "checksum", "chunk"]


class Cut(Struct, frozen=True):
    """The stream ends here: inside a frame, by a reset, at a frame's edge, or inside the tool call before.

    Or what comes is damaged: a frame's checksum, behind a frame that is sound, or the framing of HTTP, after
    which the connection stays open and silent.
    """

    kind: CutKind


class Raw(Struct, frozen=True, forbid_unknown_fields=True):
    """Any event."""

    name: str
    payload: Any


class Endless(Struct, frozen=True, forbid_unknown_fields=True):
    """Any event, again and again, so many seconds apart, until the client leaves."""

    name: str
    payload: Any = {}
    every: float = 0.1


class Drip(Struct, frozen=True):
    """A frame of a megabyte byte by byte, so many seconds apart: nobody waits for its end."""

    every: float


class Tail(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which of the closing events are sent, and the reason to stop that they tell."""

    with_metadata: bool = True
    with_context: bool = True
    with_metering: bool = True
    stop_reason: str | None = None


Step: TypeAlias = (
    Text | Reasoning | Redacted | ToolUse | Pause | Hang | Raise | Cut | Raw | Tail | Endless | Drip
)


# -------------------------------------------------------------------------------------- from JSON


class _Json(Struct, forbid_unknown_fields=True):
    text: str | None = None
    reasoning: str | None = None
    signature: str | None = None
    redacted: str | None = None
    tool: ToolUse | None = None
    pause: float | None = None
    hang: float | None = None
    exception: Raise | None = None
    cut: CutKind | None = None
    event: Raw | None = None
    tail: Tail | None = None
    endless: Endless | None = None
    drip: float | None = None


_WRAPPED: Final = {
    "text": Text,
    "redacted": Redacted,
    "pause": Pause,
    "hang": Hang,
    "cut": Cut,
    "drip": Drip,
}
_KINDS: Final = tuple(name for name in _Json.__struct_fields__ if name != "signature")


def steps_from_json(values: Sequence[Any]) -> list[Step]:
    """Steps of their JSON forms.  Raises ValueError naming the one that cannot be read."""
    steps = [_step(number, value) for number, value in enumerate(values, 1)]
    for number, (before, step) in enumerate(itertools.pairwise([None, *steps]), 1):
        if step == Cut("tool") and not isinstance(before, ToolUse):
            raise ValueError(f"step {number}: a cut inside a tool call must follow a tool")
    return steps


def _step(number: int, value: Any) -> Step:
    try:
        given = msgspec.convert(value, _Json)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise ValueError(f"step {number} cannot be read: {error}") from error
    kinds = [name for name in _KINDS if getattr(given, name) is not None]
    if len(kinds) != 1 or (given.signature is not None and given.reasoning is None):
        raise ValueError(f"step {number} must be one of {', '.join(_KINDS)}")
    if given.reasoning is not None:
        return Reasoning(given.reasoning, given.signature)
    step = getattr(given, kinds[0])
    made: Step = _WRAPPED[kinds[0]](step) if kinds[0] in _WRAPPED else step
    return made
