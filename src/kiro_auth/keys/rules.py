"""The rules of a client key, each with the failure that names it."""

from __future__ import annotations

from kiro_auth.failures import Failure
from kiro_auth.keys.key import Budget, ClientKey

_SHOWN = 80
_ASK = "Ask the owner of the gateway"


def door(key: ClientKey, now: float) -> Failure | None:
    """Why no request comes in with it, if none does; `now` is epoch seconds."""
    if key.revoked is not None:
        return Failure(
            code="KA-KEY-REVOKED",
            message=f"The key {key.name} was revoked.",
            next_step=f"{_ASK} for a new one: kiro-auth keys create NAME",
        )
    if not key.is_live(now):
        return Failure(
            code="KA-KEY-EXPIRED",
            message=f"The key {key.name} has expired.",
            next_step=f"{_ASK} for a new one: kiro-auth keys create NAME",
        )
    return None


def rotated(key: ClientKey) -> Failure:
    """The secret that it was opened with is the key's no longer."""
    return Failure(
        code="KA-KEY-REVOKED",
        message=f"The key {key.name} was given another secret.",
        next_step="Open this again with that one.",
    )


def gone(name: str) -> Failure:
    """The key was taken out of the store while a request came in with it."""
    return Failure(
        code="KA-KEY-REVOKED",
        message=f"The key {name} is no longer there.",
        next_step=f"{_ASK} for a new one: kiro-auth keys create NAME",
    )


def administration(name: str) -> Failure:
    """The address is for the holder of the gateway's own key."""
    return Failure(
        code="KA-KEY-ADMIN",
        message=f"The key {name} is a client key, which does not administer the gateway.",
        next_step="What a client key may see of itself: GET /kiro/me",
    )


def model(key: ClientKey, asked: str) -> Failure:
    """The key is not for this model."""
    return Failure(
        code="KA-KEY-MODEL",
        message=f"The key {key.name} may not use the model {asked[:_SHOWN]}.",
        next_step=f"It may use: {', '.join(key.models)}.",
    )


def account(key: ClientKey) -> Failure:
    """The request asks for an account that the key is not for; whether there is such a one is not told."""
    return Failure(
        code="KA-KEY-ACCOUNT",
        message=f"The key {key.name} may not use the account that the request asks for.",
        next_step="GET /kiro/me tells which it may use.",
    )


def accounts_gone(key: ClientKey) -> Failure:
    """None of the accounts that the key is for is left."""
    return Failure(
        code="KA-KEY-ACCOUNT",
        message=f"None of the accounts that the key {key.name} may use is left.",
        next_step=f"{_ASK} for a key to other accounts: kiro-auth keys create NAME --accounts NAME",
    )


def budget(key: ClientKey, limit: Budget, spent: float, now: float, resets: float) -> Failure:
    """The credits of this day or month are spent; the next begins at `resets` (epoch seconds)."""
    return Failure(
        code="KA-KEY-BUDGET",
        message=f"The budget of the key {key.name}, {limit}, is used up: {spent:.2f} were spent.",
        next_step="Wait, or ask the owner of the gateway for a key with more.",
        until=resets,
        noted_at=now,
    )


def concurrency(key: ClientKey) -> Failure:
    """So many answers are under way already."""
    return Failure(
        code="KA-KEY-CONCURRENCY",
        message=f"The key {key.name} may have {key.concurrency} answers under way at a time, and has them.",
        next_step="Repeat the request when one has ended.",
        retry_after=1.0,
    )
