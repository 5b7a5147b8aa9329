"""Which models the holder of a client key may use."""

from __future__ import annotations

from kiro_auth.failures import TurnFailed
from kiro_auth.keys import rules
from kiro_auth.keys.key import ClientKey
from kiro_auth.kiro.models import Model, client_id


def allows(key: ClientKey | None, model: Model) -> bool:
    """Whether a key may use a model of the service."""
    return key is None or key.allows_model((model.id, client_id(model)))


def check_model(key: ClientKey | None, model: Model) -> None:
    """Raise TurnFailed (KA-KEY-MODEL) when the key may not use it."""
    if key is not None and not allows(key, model):
        raise TurnFailed(rules.model(key, client_id(model)))
