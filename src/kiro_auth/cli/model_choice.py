"""For `run` and `env`: the model that a program is to begin with is one that Kiro lists."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from kiro_auth.cli.models import renew_list
from kiro_auth.cli.output import note_failure
from kiro_auth.failures import KiroAuthError

FIRST_LIST_SECONDS: Final = 3.0
"""How long a program's start waits for Kiro's list of models where none was read yet."""


def prepare_model(asked: str | None) -> None:
    """Have a list of models to begin with one of them, and say so when the one asked for is not in it.

    Clients do not show it: Claude Code puts words of its own in the place of the gateway's.
    """
    from kiro_auth import config as configuration
    from kiro_auth.clients.unlisted import unlisted
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.own_store import own_store
    from kiro_auth.opencode.models import FILE, read_models

    path = state_folder() / FILE
    with suppress(KiroAuthError):  # without a list the choice is Kiro's own
        if not path.exists() and own_store().snapshot().accounts:
            asyncio.run(renew_list(FIRST_LIST_SECONDS))
    if asked and path.exists():
        aliases = configuration.load().model_aliases
        if failure := unlisted(asked, read_models(path).opencode1, aliases):
            note_failure(failure)
