"""Where the tokens are, if the system's keyring has to do with it, and whether that opens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kiro_auth.config import Config
from kiro_auth.doctor.finding import Finding
from kiro_auth.failures import StoreFailed
from kiro_auth.gateway.options import FILES, KEYRING
from kiro_auth.gateway.own_store import file_store

_MOVE: Final = "Move them: kiro-auth accounts migrate-secrets"


def secrets(config: Config) -> Iterator[Finding]:
    """Where they are, and whether they can be had.  Raises ConfigFailed, StoreFailed."""
    if config.store != FILES or config.unknown_store is not None:
        return
    store = file_store()
    try:
        kept = store.kept_secrets()
    except StoreFailed:
        return  # what is wrong with the file is said where the accounts are looked at
    if not kept.in_keyring and config.secrets != KEYRING:
        return
    name = store.open_keyring()
    what = f"the system's keyring opens, and holds the tokens of {_counted(kept.in_keyring)}: {name}"
    yield Finding("secrets", "ok", what)
    if config.secrets == KEYRING and kept.in_file:
        what = f"the tokens of {_counted(kept.in_file)} are in kiro-accounts.json, in clear."
        yield Finding("secrets", "warning", what, _MOVE)
    if config.secrets == FILES:
        what = "the option secrets is files, and tokens that are in the keyring stay there."
        yield Finding("secrets", "warning", what, _MOVE)


def _counted(count: int) -> str:
    return f"{count} account{'' if count == 1 else 's'}"
