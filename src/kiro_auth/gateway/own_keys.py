"""The client keys of the person whose program this is; for those in files little is imported.

A gateway has to know who may come in before it has its store.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from kiro_auth.config import Config, load
from kiro_auth.failures import ConfigFailed
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.options import FILES, SQLITE
from kiro_auth.keys.files import FileKeys

if TYPE_CHECKING:
    from kiro_auth.keys.postgres import DatabaseKeys
    from kiro_auth.keys.protocol import KeyStore
    from kiro_auth.keys.sqlite import SqliteKeys
    from kiro_auth.store.postgres import PostgresStore


def own_keys(config: Config | None = None) -> KeyStore:
    """The client keys, where the option `store` says, as `config` has it if given.  Raises ConfigFailed."""
    config = config or load()
    if config.unknown_store is not None:
        raise ConfigFailed(config.unknown_store)
    return keys_at(config.store)


def keys_at(where: str) -> KeyStore:
    """The client keys that go with a value of the option `store`.  Raises ConfigFailed."""
    if where == FILES:
        return file_keys()
    return sqlite_keys() if where == SQLITE else database_keys(where)


def file_keys() -> FileKeys:
    """The client keys in the files of this user."""
    return FileKeys(config_folder(), state_folder())


def sqlite_keys() -> SqliteKeys:
    """The client keys in the SQLite file of this user.  Raises ConfigFailed."""
    from kiro_auth.gateway.own_store import sqlite_store
    from kiro_auth.keys.sqlite import SqliteKeys

    return SqliteKeys(sqlite_store().file)


def database_keys(url: str) -> DatabaseKeys:
    """The client keys in the database at `url`, the same for the whole program.  Raises ConfigFailed."""
    from kiro_auth.gateway.own_store import database_store

    return _opened_keys(database_store(url))


@lru_cache(maxsize=1)
def _opened_keys(store: PostgresStore) -> DatabaseKeys:
    from kiro_auth.keys.postgres import DatabaseKeys

    return DatabaseKeys(store)
