"""How commands ask the service: with the user's own options, and accounts unless others are given."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from kiro_auth import config as configuration
from kiro_auth.cli.store import file_store
from kiro_auth.gateway.parts import Parts, open_parts
from kiro_auth.store.protocol import Store

CLI_SECONDS: Final = 30.0
"""The longest a person waits for one answer of the service."""


def open_service(store: Store | None = None) -> AbstractAsyncContextManager[Parts]:
    """What asks the service, for as long as the block lasts; `store` is the user's own, unless given."""
    return open_parts(configuration.load(), file_store() if store is None else store, patience=CLI_SECONDS)
