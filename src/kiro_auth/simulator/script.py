"""Replies as steps, and steps as frames on the wire.

A script is a list of small JSON objects:

    {"text": "Hello"}                         {"pause": 0.5}            silence, in seconds
    {"reasoning": "Hm", "signature": "…"}     {"hang": 30}              silence, then the end, unfinished
    {"redacted": "base64"}                    {"cut": "frame"}          or "reset", "clean", "tool"
    {"tool": {"name": "write", "input": {}}}  {"exception": {"type": "ThrottlingException", "reason": "…"}}
    {"event": {"name": "…", "payload": {}}}   {"tail": {"withMetadata": false, "stopReason": "MAX_TOKENS"}}

Nothing here is left to chance: the same steps for the same conversation are the same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from kiro_auth.kiro.reply.eventstream import encode_frame


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


CutKind: TypeAlias = Literal["frame", "reset", "clean", "tool"]


class Cut(Struct, frozen=True):
    """The stream ends here: inside a frame, by a reset, at a frame's edge, or inside the tool call before."""

    kind: CutKind


class Raw(Struct, frozen=True, forbid_unknown_fields=True):
    """Any event."""

    name: str
    payload: Any


class Tail(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which of the closing events are sent, and the reason to stop that they tell."""

    with_metadata: bool = True
    with_context: bool = True
    with_metering: bool = True
    stop_reason: str | None = None


Step: TypeAlias = Text | Reasoning | Redacted | ToolUse | Pause | Hang | Raise | Cut | Raw | Tail


class Break(Struct, frozen=True):
    """The connection is to be broken here."""


Output: TypeAlias = bytes | Pause | Break
"""What to do next: write, wait, or break the connection."""


HIDDEN: Final = "..."
"""What stands in place of the reasoning of GPT models."""


def sign_hidden() -> str:
    """The signature of hidden reasoning, which is no base64."""
    return ".KTR~~" + _digest(HIDDEN, 24)


def sign(text: str) -> str:
    """The signature that this simulator gives to a piece of reasoning."""
    return "sig_" + _digest(text, 24)


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:length]


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


_WRAPPED: Final = {"text": Text, "redacted": Redacted, "pause": Pause, "hang": Hang, "cut": Cut}
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


# ------------------------------------------------------------------------------------------ frames

_CHARACTERS_OF_A_TOKEN: Final = 4
_UNFINISHED: Final = 2  # the last frames of a tool call that a cut inside it withholds


def frames(
    steps: Sequence[Step],
    *,
    conversation_id: str,
    protocol: str,
    input_tokens: int,
    window: int,
    max_tokens: int | None = None,
    cached_tokens: int = 0,
) -> Iterator[Output]:
    """The reply on the wire: its opening, its steps, and the figures that close it.

    `input_tokens` and the model's `window`, in tokens, are what the closing events report; `cached_tokens` of
    them are metered at a tenth.  After `max_tokens` of text the reply ends.
    """
    room = None if max_tokens is None else max_tokens * _CHARACTERS_OF_A_TOKEN
    if protocol == "rpc":
        yield _event("initial-response", {"conversationId": conversation_id})
    yield _event("messageMetadataEvent", {"conversationId": conversation_id})
    tail, called, said = Tail(), False, 0
    for number, (step, following) in enumerate(itertools.pairwise([*steps, None])):
        match step:
            case Pause():
                yield step
            case Hang(seconds):
                yield Pause(seconds)
                return
            case Raise():
                yield _failure(step)
                return
            case Cut(kind):
                yield from _cut(kind)
                return
            case Tail():
                tail = step
            case ToolUse():
                called = True
                pieces = list(_tool_use(step, f"{conversation_id}/{input_tokens}/{number}"))
                said += len(json.dumps(step.input))
                yield from pieces[:-_UNFINISHED] if following == Cut("tool") else pieces
            case Text(content) if room is not None and said + len(content) > room:
                yield from _said(Text(content[: max(0, room - said)]))
                tail, said = Tail(stop_reason="MAX_TOKENS"), room
                break
            case Text() | Reasoning() | Redacted() | Raw():
                said += _length(step)
                yield from _said(step)
    stop_reason = tail.stop_reason or ("TOOL_USE" if called else "END_TURN")
    received = 1 + said // _CHARACTERS_OF_A_TOKEN
    yield from _closing(tail, stop_reason, input_tokens, received, window, cached_tokens)


def _said(step: Text | Reasoning | Redacted | Raw) -> Iterator[bytes]:
    match step:
        case Text(content):
            for word in _words(content):
                yield _event("assistantResponseEvent", {"content": word})
        case Reasoning(text, signature):
            for word in _words(text):
                yield _event("reasoningContentEvent", {"text": word})
            yield _event(
                "reasoningContentEvent", {"signature": sign(text) if signature is None else signature}
            )
        case Redacted(data):
            yield _event("reasoningContentEvent", {"redactedContent": data})
        case Raw(name, payload):
            yield _event(name, payload)


def _length(step: Text | Reasoning | Redacted | Raw) -> int:
    match step:
        case Text(words) | Reasoning(words) | Redacted(words):
            return len(words)
        case Raw():
            return 0


def _tool_use(step: ToolUse, place: str) -> Iterator[bytes]:
    """One call.  Its id depends on its place in the conversation, so that no two calls share one."""
    call = {"toolUseId": step.id or "tooluse_" + _digest(place, 22), "name": step.name}
    fragments = step.fragments
    if fragments is None:
        text = json.dumps(step.input, ensure_ascii=False)
        fragments = [text[at : at + 24] for at in range(0, len(text), 24)]
    yield _event("toolUseEvent", call)
    for fragment in fragments:
        yield _event("toolUseEvent", {**call, "input": fragment})
    yield _event("toolUseEvent", {**call, "stop": True})


def _closing(
    tail: Tail, stop_reason: str, sent: int, received: int, window: int, cached: int
) -> Iterator[bytes]:
    total = sent + received
    if tail.with_metadata:
        usage = {"uncachedInputTokens": sent, "outputTokens": received, "totalTokens": total}
        yield _event("metadataEvent", {"tokenUsage": usage, "stopReason": stop_reason})
    if tail.with_context:
        yield _event("contextUsageEvent", {"contextUsagePercentage": round(100 * total / window, 4)})
    if tail.with_metering:
        credits_used = round(0.02 + (sent - 0.9 * cached + 5 * received) / 200_000, 4)
        yield _event("meteringEvent", {"usage": credits_used, "unit": "credit", "unitPlural": "credits"})


def _cut(kind: CutKind) -> Iterator[Output]:
    if kind == "frame":
        yield _event("assistantResponseEvent", {"content": "this frame is never whole"})[:-9]
    if kind == "reset":
        yield Break()


def _event(name: str, payload: Any) -> bytes:
    headers = {":message-type": "event", ":event-type": name, ":content-type": "application/json"}
    return encode_frame(headers, json.dumps(payload, ensure_ascii=False).encode(errors="replace"))


def _failure(step: Raise) -> bytes:
    if step.framing == "error":
        return encode_frame(
            {":message-type": "error", ":error-code": step.type, ":error-message": step.message}, b""
        )
    headers = {
        ":message-type": "exception",
        ":exception-type": step.type,
        ":content-type": "application/json",
    }
    return encode_frame(headers, json.dumps({"message": step.message, "reason": step.reason}).encode())


def _words(text: str) -> list[str]:
    """The text in pieces, none lost: each word with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)
