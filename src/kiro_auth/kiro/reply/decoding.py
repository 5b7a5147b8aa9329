"""Events of the service out of frames' payloads: in the older form too, and with half a character in them."""

from __future__ import annotations

import json
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from kiro_auth.kiro.reply.payloads import AnswerText
from kiro_auth.kiro.reply.surrogates import whole_json

UNREADABLE: Final = (ValueError, RecursionError)
"""What reading JSON raises: msgspec's errors and UnicodeDecodeError are ValueErrors, depth is the other."""

TEXT: Final = "assistantResponseEvent"
"""The event that brings the answer's text."""

E = TypeVar("E", bound=Struct)

_PIECES: Final = ("content", "text", "input")
"""Fields whose text may go on in the next event."""
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EventDecoder(Generic[E]):
    """Reads the payloads of the events of one `name`."""

    __slots__ = ("_decode", "_kind", "_name", "_nothing")

    def __init__(self, name: str, kind: type[E]) -> None:
        self._name = name
        self._kind = kind
        self._nothing = kind()
        # strict=False: figures as text or as `12.0` are taken for what they mean
        self._decode = msgspec.json.Decoder(kind, strict=False).decode

    def decode(self, payload: bytes) -> E:
        """The event.  Raises one of UNREADABLE."""
        event = self._decode(payload)
        return self._decode(self._unwrapped(payload)) if event == self._nothing else event

    def decode_halves(self, payload: bytes) -> E | None:
        """The event, if all that is wrong with it is half a character; else None.

        Its piece of text keeps the half: the other one may come with the next piece.
        """
        try:
            members = msgspec.convert(json.loads(payload), dict[str, Any])
            if isinstance(inner := members.get(self._name), dict):
                members = inner
            mended = {
                name: value if name in _PIECES and isinstance(value, str) else json.loads(whole_json(value))
                for name, value in members.items()
            }
            return msgspec.convert(mended, self._kind, strict=False)
        except UNREADABLE:
            return None

    def _unwrapped(self, payload: bytes) -> bytes:
        """What is inside the older form, in which the event's name stands around it; else `{}`."""
        return _members(payload).get(self._name, b"{}")


decode_text: Final = msgspec.json.Decoder(AnswerText).decode
"""Reads a TEXT in its usual form; in any other `content` is None.  Raises one of UNREADABLE."""
