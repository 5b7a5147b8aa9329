"""The store of the person whose program this is.

Nothing here imports the network's code, which would more than double the time that a command takes which only
reads or changes accounts.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiro_auth.accounts.account import Account
from kiro_auth.config import load
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.options import environment_key
from kiro_auth.options import KEY_VARIABLE
from kiro_auth.store.ahead import FOLDER as RENEWALS
from kiro_auth.store.ephemeral import WithEphemeral
from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import KeptStore, Store

if TYPE_CHECKING:
    from kiro_auth.store.postgres import PostgresStore

FILES: Final = "files"
"""The value of the option `store` for files."""
_WITHOUT_LIBRARIES: Final = Failure(
    code="KA-CONFIG",
    message="The option store names a database, and the libraries for that are not installed.",
    next_step="Install them beside this program: pip install 'opencode-kiro-auth[postgres]'",
)


def kept_store() -> KeptStore:
    """What is written down, where the option `store` says.  Raises ConfigFailed."""
    config = load()
    if config.unknown_store is not None:
        raise ConfigFailed(config.unknown_store)
    return file_store() if config.store == FILES else database_store(config.store)


def file_store() -> FileStore:
    """The files of this user."""
    return FileStore(config_folder(), state_folder() / "locks")


def database_store(url: str) -> PostgresStore:
    """The store in the database at `url`, the same one for the whole program.  Raises ConfigFailed."""
    try:
        from kiro_auth.store.sealed import read_keys
    except ImportError:
        raise ConfigFailed(_WITHOUT_LIBRARIES) from None
    return _opened(url, tuple(read_keys(os.environ)), state_folder() / RENEWALS)


@lru_cache(maxsize=1)
def _opened(url: str, keys: tuple[bytes, ...], renewals: Path) -> PostgresStore:
    try:
        from kiro_auth.store.postgres import PostgresStore
    except ImportError:
        raise ConfigFailed(_WITHOUT_LIBRARIES) from None
    return PostgresStore(url, list(keys), renewals)


def own_store() -> Store:
    """What is written down, and the API key of the environment as one account more, if there is one."""
    key = environment_key()
    if not key:
        return kept_store()
    from kiro_auth.login.api_key import key_record  # brings the network's code with it

    return WithEphemeral(kept_store(), key_record(key))


def check_changeable(store: Store, account: Account) -> None:
    """The key of the environment, of which nothing can be kept, is refused with ConfigFailed."""
    if isinstance(store, WithEphemeral) and store.is_ephemeral(account.id):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{account.name!r} is there as long as the variable {KEY_VARIABLE} is; "
                "it is written down nowhere, so nothing of it can be changed.",
                next_step=f"To be rid of it: unset {KEY_VARIABLE}",
            )
        )
