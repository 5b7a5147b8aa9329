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
from typing import Final, TypeVar

from msgspec import Struct

from kiro_auth.events import Caller

LINK_SECONDS: Final = 120.0
"""How long a link waits for its browser."""
SESSION_SECONDS: Final = 12 * 3600.0
"""A working day; then `kiro-auth dashboard` opens it again."""
MOST: Final = 16
"""Links, and sessions, at a time of the owner, each key's holder and each person; the oldest give way."""


class Session(Struct, frozen=True):
    """One browser's.  `csrf` is what its page sends with every change; it `ends` on the sessions' clock.

    `holder` is whose view of a client key it is; None: it is the owner's.  `person` is who came in by the
    company's sign-in; None: it began otherwise.
    """

    digest: bytes
    csrf: str
    ends: float
    holder: Caller | None = None
    person: str | None = None


class Link(Struct, eq=False):
    """One that is good once, until it `ends`, for the view of a `holder` as in a session.

    `user` is the id of the user of this machine whose programs alone may follow it; None: anybody's.
    `is_told`: that others tried to.
    """

    digest: bytes
    ends: float
    holder: Caller | None
    user: int | None
    person: None = None
    is_told: bool = False


Kept = TypeVar("Kept", Link, Session)


class Sessions:
    """`clock` gives seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._links: list[Link] = []  # the oldest first
        self._sessions: list[Session] = []

    def new_link(self, holder: Caller | None = None, user: int | None = None) -> str:
        """The token of a new link."""
        token = secrets.token_urlsafe(32)
        link = Link(_digest(token), self._clock() + LINK_SECONDS, holder, user)
        self._links = [*_room(self._links, holder, None), link]
        return token

    def link(self, token: str) -> Link | None:
        """The link of a token, while it is good."""
        digest, now = _digest(token), self._clock()
        self._links = [link for link in self._links if link.ends > now]
        matching = [link for link in self._links if hmac.compare_digest(link.digest, digest)]
        return matching[0] if matching else None

    def redeem(self, token: str) -> str | None:
        """The cookie of a new session, if the token is one of a link that is still good."""
        link = self.link(token)
        if link is None:
            return None
        self._links.remove(link)
        return self.begin(link.holder)

    def begin(self, holder: Caller | None, person: str | None = None) -> str:
        """The cookie of a new session."""
        cookie = secrets.token_urlsafe(32)
        ends = self._clock() + SESSION_SECONDS
        session = Session(_digest(cookie), secrets.token_urlsafe(32), ends, holder, person)
        self._sessions = [*_room(self._sessions, holder, person), session]
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


def _room(kept: list[Kept], holder: Caller | None, person: str | None) -> list[Kept]:
    """Those that stay when one more of this holder, or of this person, comes."""
    leaving = [each for each in kept if (each.holder, each.person) == (holder, person)][: -MOST + 1]
    return [each for each in kept if each not in leaving]


def is_right(session: Session, csrf: str) -> bool:
    """Whether this is what the session's page sends with a change."""
    return hmac.compare_digest(session.csrf.encode(), csrf.encode(errors="replace"))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
