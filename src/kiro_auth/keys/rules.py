"""The rules of a client key, each with the failure that names it."""

from __future__ import annotations

from msgspec.structs import replace

from kiro_auth.failures import Failure
from kiro_auth.keys.key import Budget, ClientKey

_SHOWN = 80
_ASK = "Ask the owner of the gateway"
_NEW_ONE = f"{_ASK} for a new one: kiro-auth keys create NAME"


def door(key: ClientKey, now: float) -> Failure | None:
    """Why no request comes in with it, if none does; `now` is epoch seconds."""
    if key.revoked is not None:
        return _refused("KA-KEY-REVOKED", f"The key {key.name} was revoked.", _NEW_ONE)
    if not key.is_live(now):
        return _refused("KA-KEY-EXPIRED", f"The key {key.name} has expired.", _NEW_ONE)
    return None


def rotated(key: ClientKey) -> Failure:
    """The secret that it was opened with is the key's no longer."""
    message = f"The key {key.name} was given another secret."
    return _refused("KA-KEY-REVOKED", message, "Open this again with that one.")


def gone(name: str) -> Failure:
    """The key was taken out of the store while a request came in with it."""
    return _refused("KA-KEY-REVOKED", f"The key {name} is no longer there.", _NEW_ONE)


def administration(name: str) -> Failure:
    """The address is for the holder of the gateway's own key."""
    message = f"The key {name} is a client key, which does not administer the gateway."
    return _refused("KA-KEY-ADMIN", message, "What a client key may see of itself: GET /kiro/me")


def model(key: ClientKey, asked: str) -> Failure:
    """The key is not for this model."""
    message = f"The key {key.name} may not use the model {asked[:_SHOWN]}."
    return _refused("KA-KEY-MODEL", message, f"It may use: {', '.join(key.models)}.")


def account(key: ClientKey) -> Failure:
    """The request asks for an account that the key is not for; whether there is such a one is not told."""
    message = f"The key {key.name} may not use the account that the request asks for."
    return _refused("KA-KEY-ACCOUNT", message, "GET /kiro/me tells which it may use.")


def accounts_gone(key: ClientKey) -> Failure:
    """None of the accounts that the key is for is left."""
    message = f"None of the accounts that the key {key.name} may use is left."
    next_step = f"{_ASK} for a key to other accounts: kiro-auth keys create NAME --accounts NAME"
    return _refused("KA-KEY-ACCOUNT", message, next_step)


def budget(key: ClientKey, limit: Budget, spent: float, now: float, resets: float) -> Failure:
    """The credits of this day or month are spent; the next begins at `resets` (epoch seconds)."""
    message = f"The budget of the key {key.name}, {limit}, is used up: {spent:.2f} were spent."
    failure = _refused("KA-KEY-BUDGET", message, "Wait, or ask the owner of the gateway for a key with more.")
    return replace(failure, until=resets, noted_at=now)


def concurrency(key: ClientKey) -> Failure:
    """So many answers are under way already."""
    message = f"The key {key.name} may have {key.concurrency} answers under way at a time, and has them."
    return replace(
        _refused("KA-KEY-CONCURRENCY", message, "Repeat the request when one has ended."), retry_after=1.0
    )


def _refused(code: str, message: str, next_step: str) -> Failure:
    return Failure(code=code, message=message, next_step=next_step)
