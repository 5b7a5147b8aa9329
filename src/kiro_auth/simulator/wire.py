"""Steps of replies as frames on the wire.

Nothing here is left to chance: the same steps for the same conversation are the same bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from msgspec import Struct

from kiro_auth.kiro.reply.eventstream import encode_frame
from kiro_auth.simulator.script import (
    Cut,
    CutKind,
    Drip,
    Endless,
    Hang,
    Pause,
    Raise,
    Raw,
    Reasoning,
    Redacted,
    Step,
    Tail,
    Text,
    ToolUse,
)


class Break(Struct, frozen=True):
    """The connection is to be broken here."""


class Damage(Struct, frozen=True):
    """Bytes that are no event stream; when not `framed`, not even in a chunk of HTTP."""

    data: bytes
    framed: bool


Output: TypeAlias = bytes | Pause | Break | Damage
"""What to do next: write, wait, break the connection, or write what is damaged."""


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


_CHARACTERS_OF_A_TOKEN: Final = 4
_LONG: Final = 3600.0  # seconds
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
    yield from _opening(protocol, conversation_id)
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
            case Endless() | Drip():
                yield from _for_ever(step)
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


def _opening(protocol: str, conversation_id: str) -> Iterator[bytes]:
    if protocol == "rpc":
        yield _event("initial-response", {"conversationId": conversation_id})
    yield _event("messageMetadataEvent", {"conversationId": conversation_id})


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
    if kind == "checksum":
        spoilt = bytearray(_event("assistantResponseEvent", {"content": "never read"}))
        spoilt[-1] ^= 0xFF
        yield Damage(_event("assistantResponseEvent", {"content": "sound"}) + spoilt, framed=True)
    if kind == "chunk":
        yield Damage(b"no size of a chunk\r\n", framed=False)
        yield Pause(_LONG)


def _for_ever(step: Endless | Drip) -> Iterator[Output]:
    if isinstance(step, Endless):
        data = _event(step.name, step.payload)
        while True:
            yield data
            yield Pause(step.every)
    for byte in _event("assistantResponseEvent", {"content": "x" * 1_000_000}):
        yield bytes((byte,))
        yield Pause(step.every)


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
