"""Replies as steps, and steps as frames on the wire.

A script is a list of small JSON objects: {"text": …}, {"reasoning": …}, {"tool": {"name", "input"}},
{"pause": seconds}, {"exception": {…}}, {"cut": "frame" | "reset" | "clean" | "tool"}, {"hang": seconds},
{"event": {"name", "payload"}}, {"tail": {…}}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from kiro_auth.kiro.eventstream import encode_frame
from kiro_auth.simulator.validator import sign


class Text(Struct, frozen=True):
    """Answer text; sent word by word."""

    content: str


class Reasoning(Struct, frozen=True):
    """Reasoning with the signature that this simulator gives it."""

    text: str


class ToolUse(Struct, frozen=True):
    """A tool call; its input is sent in pieces."""

    name: str
    input: Mapping[str, Any]
    id: str | None = None


class Pause(Struct, frozen=True):
    """Silence, in seconds."""

    seconds: float


class Raise(Struct, frozen=True):
    """An exception inside the stream; nothing follows it."""

    type: str
    message: str = ""
    reason: str | None = None


class Cut(Struct, frozen=True):
    """The stream ends here: inside a frame, by a reset, at a frame's edge, or inside the tool call before."""

    kind: Literal["frame", "reset", "clean", "tool"]


class Raw(Struct, frozen=True):
    """Any event."""

    name: str
    payload: Any


class Tail(Struct, frozen=True):
    """What closes the reply instead of the usual figures."""

    metadata: bool = True
    context: bool = True
    metering: bool = True
    stop_reason: str | None = None


Step: TypeAlias = Text | Reasoning | ToolUse | Pause | Raise | Cut | Raw | Tail


class Reset(Struct, frozen=True):
    """The connection is to be broken here."""


Output: TypeAlias = bytes | Pause | Reset
"""What to do next: write, wait, or break the connection."""


_MAKERS: Final[dict[str, Callable[[Any], Step]]] = {
    "text": lambda value: Text(_text(value)),
    "reasoning": lambda value: Reasoning(_text(value)),
    "tool": lambda value: ToolUse(_text(value["name"]), dict(value.get("input", {})), value.get("id")),
    "pause": lambda value: Pause(float(value)),
    "hang": lambda value: Pause(float(value)),
    "exception": lambda value: Raise(_text(value["type"]), value.get("message", ""), value.get("reason")),
    "cut": lambda value: Cut(_one_of(value, "frame", "reset", "clean", "tool")),
    "event": lambda value: Raw(_text(value["name"]), value["payload"]),
    "tail": lambda value: Tail(**value),
}


def steps_from_json(values: Sequence[Any]) -> list[Step]:
    """Steps of their JSON forms.  Raises ValueError naming the one that cannot be read."""
    return [_step(number, value) for number, value in enumerate(values, 1)]


def _step(number: int, value: Any) -> Step:
    name = next(iter(value), None) if isinstance(value, dict) and len(value) == 1 else None
    if name not in _MAKERS:
        raise ValueError(f"step {number} must be one of {', '.join(_MAKERS)}")
    try:
        return _MAKERS[name](value[name])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"step {number} ({name}) cannot be read: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it must be a string")
    return value


def _one_of(value: Any, *words: Any) -> Any:
    if value not in words:
        raise ValueError(f"it must be one of {', '.join(words)}")
    return value


# ------------------------------------------------------------------------------------------ frames


class Bill(Struct, frozen=True):
    """The figures of one reply: tokens sent, the model's window, what it costs."""

    input_tokens: int
    window: int
    credits: float


def frames(
    steps: Sequence[Step], *, conversation_id: str, protocol: str, model_id: str, bill: Bill
) -> Iterator[Output]:
    """The reply on the wire: its opening, its steps, and the figures that close it."""
    if protocol == "rpc":
        yield _event("initial-response", {"conversationId": conversation_id})
    yield _event("messageMetadataEvent", {"conversationId": conversation_id})
    tail, called, said = Tail(), False, 0
    for number, step in enumerate(steps):
        match step:
            case Pause():
                yield step
            case Raise():
                yield _exception(step)
                return
            case Cut(kind):
                yield from _cut(kind)
                return
            case Tail():
                tail = step
            case ToolUse():
                called = True
                following = steps[number + 1] if number + 1 < len(steps) else None
                pieces = list(_tool_use(step, number))
                yield from pieces[:-1] if following == Cut("tool") else pieces
            case _:
                for frame in _said(step, model_id):
                    said += len(frame)
                    yield frame
    yield from _closing(tail, "TOOL_USE" if called else "END_TURN", 1 + said // 400, bill)


def _said(step: Text | Reasoning | Raw, model_id: str) -> Iterator[bytes]:
    match step:
        case Text(content):
            for word in _words(content):
                yield _event("assistantResponseEvent", {"content": word, "modelId": model_id})
        case Reasoning(text):
            for word in _words(text):
                yield _event("reasoningContentEvent", {"text": word})
            yield _event("reasoningContentEvent", {"signature": sign(text)})
        case Raw(name, payload):
            yield _event(name, payload)


def _tool_use(step: ToolUse, number: int) -> Iterator[bytes]:
    call = {
        "toolUseId": step.id or f"tooluse_{sign(json.dumps(step.input))[4:22]}{number:04}",
        "name": step.name,
    }
    yield _event("toolUseEvent", call)
    text = json.dumps(step.input)
    for at in range(0, len(text), 24):
        yield _event("toolUseEvent", {**call, "input": text[at : at + 24]})
    yield _event("toolUseEvent", {**call, "stop": True})


def _closing(tail: Tail, stop_reason: str, output: int, bill: Bill) -> Iterator[bytes]:
    sent = bill.input_tokens
    if tail.metadata:
        usage = {"uncachedInputTokens": sent, "outputTokens": output, "totalTokens": sent + output}
        yield _event("metadataEvent", {"tokenUsage": usage, "stopReason": tail.stop_reason or stop_reason})
    if tail.context:
        yield _event(
            "contextUsageEvent", {"contextUsagePercentage": round((sent + output) / bill.window * 100, 4)}
        )
    if tail.metering:
        yield _event("meteringEvent", {"usage": bill.credits, "unit": "credit", "unitPlural": "credits"})


def _cut(kind: str) -> Iterator[Output]:
    if kind == "frame":
        yield _event("assistantResponseEvent", {"content": "this frame is never whole"})[:-9]
    if kind == "reset":
        yield Reset()


def _event(name: str, payload: Any) -> bytes:
    headers = {":message-type": "event", ":event-type": name, ":content-type": "application/json"}
    return encode_frame(headers, json.dumps(payload).encode())


def _exception(step: Raise) -> bytes:
    headers = {
        ":message-type": "exception",
        ":exception-type": step.type,
        ":content-type": "application/json",
    }
    return encode_frame(headers, json.dumps({"message": step.message, "reason": step.reason}).encode())


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text) or [text]
