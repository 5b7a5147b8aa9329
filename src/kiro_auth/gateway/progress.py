"""Whether an answer still goes on, by what is made of the service's bytes, not by their coming."""

from __future__ import annotations

from typing import Final

from kiro_auth.failures import Failure
from kiro_auth.gateway.reply import Reply

_LEAST_PACE: Final = 4
"""Bytes a second by which a tool call must grow, which the client gets when it is whole: about a token.  A
choice of ours; models write fifty and more."""


class Progress:
    """Watches one reply: it has to give something within `patience` seconds, again and again.

    Pings, empty events and such that nobody knows are nothing; neither are single bytes of a frame.
    """

    __slots__ = ("_given", "_held", "_patience", "_reply", "_until")

    def __init__(self, reply: Reply, patience: float) -> None:
        self._reply = reply
        self._patience = patience
        self._given = -1
        self._held = 0
        self._until = 0.0

    def until(self, now: float) -> float:
        """When the answer counts as stuck, if nothing more of it comes; in seconds of any clock."""
        reply = self._reply
        if reply.given != self._given or reply.held - self._held >= _LEAST_PACE * self._patience:
            self.begin(now)
        return self._until

    def begin(self, now: float) -> None:
        """Count from now on."""
        self._given, self._held = self._reply.given, self._reply.held
        self._until = now + self._patience

    def stuck(self) -> Failure:
        """What is told of an answer that is stuck."""
        return Failure(
            code="KA-TIMEOUT",
            message=f"Kiro sent nothing more of the answer for {self._patience:.0f} s.",
            next_step="Repeat the request, or raise request_timeout_ms.",
        )
