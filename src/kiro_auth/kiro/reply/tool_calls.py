"""Put tool calls together from the pieces in which they come."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from kiro_auth.conversation import CallReady
from kiro_auth.kiro.checked import LONGEST_ID
from kiro_auth.kiro.reply.decoding import UNREADABLE
from kiro_auth.kiro.reply.meter import size_of
from kiro_auth.kiro.reply.payloads import ToolUse
from kiro_auth.kiro.reply.surrogates import whole_json

_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_NOT_IN_IDS: Final = re.compile(r"[^a-zA-Z0-9_-]")


class _Call(Struct):
    """A call under way."""

    name: str
    parts: list[str]

    def arguments(self) -> str:
        """The JSON text.  Some replies begin with a `{}` that the real pieces replace."""
        parts = self.parts[1:] if len(self.parts) > 1 and self.parts[0] == "{}" else self.parts
        return "".join(parts) or "{}"


class ToolCalls:
    """The calls of one reply; their pieces may come interleaved.

    `names` maps names as sent to the client's own.  A call is given once, when it is whole: a reply that
    is cut inside a call never gives it.
    """

    __slots__ = ("_calls", "_names", "_spoiled", "waiting")

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._calls: dict[str, _Call | None] = {}  # None: it was closed
        self._spoiled: tuple[str, ...] = ()
        self.waiting = 0  # bytes of the calls that are not whole yet

    def give_up(self, name: str) -> None:
        """The call that was just given is not to be run after all."""
        self._spoiled += (name,)

    @property
    def unfinished(self) -> list[str]:
        """The tools whose calls were begun and are not whole by now; a name may be empty."""
        if not self._calls and not self._spoiled:  # most answers call nothing
            return []
        names = [*self._spoiled, *(call.name for call in self._calls.values() if call)]
        return [self._names.get(name, name) for name in names]

    def add(self, piece: ToolUse) -> CallReady | None:
        """The call that this piece completes."""
        call_id = piece.tool_use_id
        if not call_id or len(call_id) > LONGEST_ID:
            self._spoiled += (piece.name or "",)  # nobody can say which call it belongs to
            return None
        call = self._calls.setdefault(call_id, _Call("", []))
        if call is None:
            return None  # a second end of the same call must not run it again
        call.name = call.name or piece.name or ""
        if piece.input not in ("", None):
            call.parts.append(_text(piece.input))
            self.waiting += size_of(call.parts[-1])
        return self._close(call_id, call) if piece.stop else None

    def _close(self, call_id: str, call: _Call) -> CallReady | None:
        self._calls[call_id] = None
        self.waiting -= sum(map(size_of, call.parts))
        arguments = _object_text(call.arguments())
        if not call.name or len(call.name) > LONGEST_ID or arguments is None:
            self._spoiled += (call.name,)
            return None
        # Clients and their APIs take no other characters in ids.
        return CallReady(_NOT_IN_IDS.sub("_", call_id), self._names.get(call.name, call.name), arguments)


def _text(piece: Any) -> str:
    return piece if isinstance(piece, str) else msgspec.json.encode(piece).decode()


def _object_text(arguments: str) -> str | None:
    """The JSON text of an object as it came, mended if it holds half a character; None for anything else."""
    if _is_object(arguments):
        return arguments
    try:
        mended = whole_json(json.loads(arguments))
    except UNREADABLE:
        return None
    return mended if _is_object(mended) else None


def _is_object(arguments: str) -> bool:
    try:
        _decode_object(arguments)
    except UNREADABLE:
        return False
    return True
