"""How much, how many and how long: what a client may send before it is known, and afterwards."""

from __future__ import annotations

from typing import Final

MAX_HEADER: Final = 64 * 1024
"""Bytes of the request line, and of one header: Codex's `x-codex-turn-metadata` grows with the work trees."""
MAX_HEAD: Final = 2 * MAX_HEADER
"""Bytes of all of it."""
MAX_HEADERS: Final = 128
"""Lines of it; clients send twenty to thirty."""
MAX_BEHIND: Final = 64 * 1024
"""Bytes behind the request under way from which on no more is read."""

SILENT_SECONDS: float = 15.0
"""How long a connection without a key may ask for nothing."""
HEAD_SECONDS: float = 5.0
"""How long a head may take from its first byte on."""
BODY_SECONDS: float = 60.0
"""How long a body may make no progress, and a client take nothing of an answer that is complete."""
KEPT_SECONDS: float = 120.0
"""How long a connection is kept for the next request: longer than clients do (90 for Rust's reqwest)."""
LINGER_SECONDS: float = 1.0
"""For how long a client that still sends what nobody reads may pause in that; in all it has SILENT_SECONDS.
Most read no answer before they have sent all, and a line that is cut takes the answer along."""

MOST_STRANGERS: Final = 1024
"""Connections without a key that may take all of their time: agents of one person may begin together."""
MOST_HANDSHAKES: Final = 256
"""Of TLS, under way."""
MOST_OF_ONE: Final = 32
"""Of them from one address of another machine."""
TIME_TO_ASK: Final = 0.5
"""Seconds in which none of them has to give way yet: its request may be on its way."""


def time_to_ask(count: int, enough: int) -> float:
    """The same where there are so many: a crowd that comes at once is not sent at once, on a busy machine.

    All of the time that one alone has, divided by how often they are enough: so what they hold is bounded.
    """
    return max(TIME_TO_ASK, SILENT_SECONDS * enough / count)
