"""Who may see the dashboard: links that are good once, and the sessions of browsers that followed one.

All is in memory, so that the end of the gateway ends every session.  Of links and cookies only hashes are
kept, which are compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

LINK_SECONDS: Final = 120.0
"""How long a link waits for its browser."""
SESSION_SECONDS: Final = 12 * 3600.0
"""A working day; then `kiro-auth dashboard` opens it again."""
MOST: Final = 16
"""Links, and sessions, at a time; the oldest give way."""


class Session(Struct, frozen=True):
    """One browser's.  `csrf` is what its page sends with every change; it `ends` on the sessions' clock."""

    digest: bytes
    csrf: str
    ends: float


class Sessions:
    """`clock` gives seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: list[tuple[bytes, float]] = []  # digest, end; the oldest first
        self._sessions: list[Session] = []

    def new_link(self) -> str:
        """A token that is good once, for a short while."""
        token = secrets.token_urlsafe(32)
        self._links = [*self._links[-MOST + 1 :], (_digest(token), self._clock() + LINK_SECONDS)]
        return token

    def redeem(self, token: str) -> str | None:
        """The cookie of a new session, if the token is one of a link that is still good."""
        digest, now = _digest(token), self._clock()
        matching = [link for link in self._links if hmac.compare_digest(link[0], digest)]
        self._links = [link for link in self._links if link not in matching and link[1] > now]
        if not any(ends > now for _, ends in matching):
            return None
        cookie = secrets.token_urlsafe(32)
        session = Session(_digest(cookie), secrets.token_urlsafe(32), now + SESSION_SECONDS)
        self._sessions = [*self._sessions[-MOST + 1 :], session]
        return cookie

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie, if it has not ended."""
        digest, now = _digest(cookie or ""), self._clock()
        self._sessions = [session for session in self._sessions if session.ends > now]
        matching = [s for s in self._sessions if hmac.compare_digest(s.digest, digest)]
        return matching[0] if matching else None

    def is_open(self, session: Session) -> bool:
        """Whether it has not ended."""
        return session in self._sessions and session.ends > self._clock()

    def end(self, session: Session) -> None:
        """Forget it."""
        self._sessions = [kept for kept in self._sessions if kept is not session]


def is_right(session: Session, csrf: str) -> bool:
    """Whether this is what the session's page sends with a change."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode(errors="replace"))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
