"""Neighbouring deltas of one kind, joined: what one read brought goes out as one event."""

from __future__ import annotations

from typing import TypeAlias

from kiro_auth.conversation import ReasoningDelta, TextDelta
from kiro_auth.kiro.reply.surrogates import ends_in_half, whole

Kind: TypeAlias = type[TextDelta | ReasoningDelta]


class DeltaRun:
    """The deltas since the last event.  `halves`: half a character came, so its other half is waited for."""

    __slots__ = ("_kind", "_parts", "halves")

    def __init__(self) -> None:
        self.halves = False
        self._parts: list[str] = []
        self._kind: Kind = TextDelta

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, kind: Kind, text: str) -> TextDelta | ReasoningDelta | None:
        """One more; gives the run before it when that was of the other kind."""
        ended = None
        if kind is not self._kind:
            ended = self.joined()
            self._kind = kind
        self._parts.append(text)
        return ended

    def joined(self, *, may_go_on: bool = False) -> TextDelta | ReasoningDelta | None:
        """The run as one event, if it has text; if it `may_go_on`, half a character at its end waits."""
        if not self._parts:
            return None
        text = self._parts[0] if len(self._parts) == 1 else "".join(self._parts)
        self._parts.clear()
        if self.halves:
            if may_go_on and ends_in_half(text):
                self._parts.append(text[-1])
                text = text[:-1]
            text = whole(text)
        return self._kind(text) if text else None
