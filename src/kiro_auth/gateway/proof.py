"""How the gateway and the user's own programs prove to each other that they are what they say.

Both know the `secret` of the state file, which the user alone can read, and neither ever sends it:

1. The caller asks `GET /kiro/proof` with a nonce of its own.
2. The gateway answers with a nonce of its own and a keyed hash (HMAC-SHA256) over both.
3. On the same connection the caller sends its request with a keyed hash of its own, in place of the key.

Each hash holds the address that the gateway listens at, so that an answer which another port passes on is
worth nothing.  The gateway keeps nothing between the steps: its nonce holds the time and a hash of its own.
Nothing here does I/O or knows the time.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final

from msgspec import Struct

PATH: Final = "/kiro/proof"
NONCE_HEADER: Final = "x-kiro-nonce"
PROOF_HEADER: Final = "x-kiro-proof"
SCHEME: Final = "KiroProof"
"""The scheme of the `Authorization` header that stands in for the key."""
FRESH_SECONDS: Final = 60
"""How long a nonce of the gateway may be used."""

_NONCE: Final = r"[A-Za-z0-9_-]{16,128}"
_SECONDS: Final = r"(0|[1-9][0-9]{0,17})\.[0-9a-f]{32}"


def new_nonce() -> str:
    """What a caller asks with: 32 random bytes, as base64url without padding."""
    return secrets.token_urlsafe(32)


def new_secret() -> str:
    """What a gateway announces for the user's own programs, anew at each start."""
    return secrets.token_urlsafe(32)


def is_nonce(text: str) -> bool:
    """Whether a caller may ask with it: 16 to 128 characters of base64url."""
    return re.fullmatch(_NONCE, text) is not None


class Prover(Struct, frozen=True):
    """Makes and checks the proofs for one gateway, which listens at `host` and `port`."""

    secret: str
    host: str
    port: int

    def gateway_nonce(self, nonce: str, now: float) -> str:
        """The gateway's nonce for that of a caller; `now` is in seconds of the gateway's own clock."""
        seconds = str(int(now))
        return f"{seconds}.{self._hash('kiro-auth nonce', seconds, nonce)[:32]}"

    def gateway_proof(self, nonce: str, gateway_nonce: str) -> str:
        """What shows a caller that it speaks with the gateway."""
        return self._hash("kiro-auth gateway", self._place(), nonce, gateway_nonce)

    def is_gateway(self, nonce: str, gateway_nonce: str, proof: str) -> bool:
        """Whether the gateway itself answered a caller's nonce."""
        return _same(self.gateway_proof(nonce, gateway_nonce), proof)

    def credentials(self, nonce: str, gateway_nonce: str) -> str:
        """What a caller sends behind the scheme's name: it shows that the caller is the user's."""
        proof = self._hash("kiro-auth caller", self._place(), nonce, gateway_nonce)
        return f"{nonce}:{gateway_nonce}:{proof}"

    def is_caller(self, credentials: str, now: float) -> bool:
        """Whether these are right, and the gateway's nonce in them is its own and fresh."""
        nonce, _, rest = credentials.partition(":")
        gateway_nonce = rest.partition(":")[0]
        if not is_nonce(nonce) or not (written := re.fullmatch(_SECONDS, gateway_nonce)):
            return False
        seconds = int(written[1])
        if not 0 <= int(now) - seconds <= FRESH_SECONDS:
            return False
        ours = _same(self.gateway_nonce(nonce, seconds), gateway_nonce)
        return _same(self.credentials(nonce, gateway_nonce), credentials) and ours

    def _place(self) -> str:
        return f"{self.host}:{self.port}"

    def _hash(self, *parts: str) -> str:
        text = "\n".join(parts).encode(errors="surrogatepass")  # of a stranger, it may hold anything
        return hmac.digest(self.secret.encode(), text, "sha256").hex()


def _same(right: str, given: str) -> bool:
    """Compares in a time that says nothing of how much is right."""
    return hmac.compare_digest(right.encode(errors="replace"), given.encode(errors="replace"))
