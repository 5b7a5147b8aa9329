"""Sign-ins under way: what ties the answer of the provider to the browser that asked for it.

Nothing of them is kept here, so that nobody can fill the memory with them: a short-lived cookie of the
browser names the attempt, and what the provider gets of it follows from that and a secret of this process.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

ATTEMPT_SECONDS: Final = 600
"""How long a person may take at the provider."""


class Attempt(Struct, frozen=True):
    """One sign-in.  `verifier` is that of PKCE (RFC 7636), `state` and `nonce` those of OpenID Connect."""

    cookie: str
    state: str
    nonce: str
    verifier: str


class Attempts:
    """`clock` gives seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def begin(self) -> Attempt:
        """A new one."""
        return self._named(f"{int(self._clock() + ATTEMPT_SECONDS)}.{secrets.token_urlsafe(32)}")

    def find(self, cookie: str, state: str) -> Attempt | None:
        """The one of a cookie, if the state is its own and it has not ended."""
        attempt = self._named(cookie)
        if not hmac.compare_digest(attempt.state.encode(), state.encode(errors="replace")):
            return None
        ends = int(cookie.partition(".")[0])  # only a cookie of this process has a state that is right
        return attempt if ends > self._clock() else None

    def _named(self, cookie: str) -> Attempt:
        return Attempt(cookie, *(self._made(what, cookie) for what in ("state", "nonce", "verifier")))

    def _made(self, what: str, cookie: str) -> str:
        digest = hmac.digest(self._secret, f"{what} {cookie}".encode(errors="replace"), "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
