"""The gateway's side of the proof, as docs/architecture.md has it: for gateways that tests make up."""

from __future__ import annotations

import hashlib
import hmac


def mac(secret: str, *words: str) -> str:
    """The proof of a text of several lines."""
    return hmac.new(secret.encode(), "\n".join(words).encode(), hashlib.sha256).hexdigest()


def answer_to(question: str, secret: str, at: str) -> dict[str, str]:
    """The headers that prove to a caller that the secret is known; `at` is the listener's `host:port`."""
    answer = f"1.{mac(secret, 'kiro-auth nonce', '1', question)[:32]}"
    return {
        "x-kiro-nonce": answer,
        "x-kiro-proof": mac(secret, "kiro-auth gateway", at, question, answer),
    }


def is_caller(authorization: str | None, secret: str, at: str) -> bool:
    """Whether a request comes from a program that knows the secret."""
    scheme, _, given = (authorization or "").partition(" ")
    question, _, rest = given.partition(":")
    answer, _, proof = rest.partition(":")
    return scheme == "KiroProof" and proof == mac(secret, "kiro-auth caller", at, question, answer)
