"""The store and the ledger of the person whose program this is.

A function that takes a `config` goes by it, and reads the options of this moment only where none is given.

Nothing here imports the network's code, which would more than double the time that a command takes which only
reads or changes accounts.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kiro_auth.accounts.account import Account
from kiro_auth.config import Config, load
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.options import FILES, KEYRING, SQLITE, environment_key
from kiro_auth.ledger.local import FILE as LEDGER
from kiro_auth.ledger.local import LocalLedger
from kiro_auth.options import KEY_VARIABLE
from kiro_auth.store.apart import Apart
from kiro_auth.store.ephemeral import WithEphemeral
from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import KeptStore, Store
from kiro_auth.store.system_keyring import WITHOUT_LIBRARY, SystemKeyring

if TYPE_CHECKING:
    from kiro_auth.ledger.postgres import PostgresLedger
    from kiro_auth.ledger.protocol import Ledger
    from kiro_auth.store.postgres import PostgresStore
    from kiro_auth.store.sqlite import SqliteStore
    from kiro_auth.store.written import Seals

_WITHOUT_LIBRARIES: Final = Failure(
    code="KA-CONFIG",
    message="The option store names a database, and the libraries for that are not installed.",
    next_step="Install them, in this program's clone: pipx install --force '.[postgres]'",
)


_WITHOUT_CIPHERS: Final = Failure(
    code="KA-CONFIG",
    message="KIRO_STORE_KEY is set, or a file for it, and the library that seals with it is not installed.",
    next_step="Install it, in this program's clone: pipx install --force '.[postgres]'; or unset the key.",
)


def where_kept(config: Config | None = None) -> str:
    """The value of the option `store`.  Raises ConfigFailed when it is not known."""
    config = config or load()
    if config.unknown_store is not None:
        raise ConfigFailed(config.unknown_store)
    return config.store


def kept_store(config: Config | None = None) -> KeptStore:
    """What is written down, where the option `store` says.  Raises ConfigFailed."""
    config = config or load()
    return store_at(where_kept(config), config)


def store_at(where: str, config: Config | None = None) -> KeptStore:
    """The store that is meant by a value of the option `store`.  Raises ConfigFailed."""
    if where == FILES:
        return file_store(config)
    return sqlite_store() if where == SQLITE else database_store(where)


def file_store(config: Config | None = None) -> FileStore:
    """The files of this user, with the keyring that their secrets may be in.  Raises ConfigFailed."""
    if (config or load()).secrets == KEYRING and find_spec("keyring") is None:
        raise ConfigFailed(WITHOUT_LIBRARY)
    return FileStore(
        config_folder(), state_folder() / "locks", Apart(SystemKeyring(), keeps_new=_keyring_wanted)
    )


def _keyring_wanted() -> bool:
    """What the option says by now: a gateway that runs for weeks goes by it as well.  Raises StoreFailed."""
    config = load()
    if config.unknown_store is not None:
        raise StoreFailed(config.unknown_store)
    return config.secrets == KEYRING


def sqlite_store() -> SqliteStore:
    """The SQLite file of this user, the same for the whole program; sealed if a key is set.

    Raises ConfigFailed.
    """
    return _opened_sqlite(config_folder(), state_folder() / "locks", tuple(_keys_for_sqlite()))


def _keys_for_sqlite() -> list[bytes]:
    if not any(os.environ.get(name, "").strip() for name in ("KIRO_STORE_KEY", "KIRO_STORE_KEY_FILE")):
        return []
    try:
        from kiro_auth.store.sealed import read_keys
    except ImportError:
        raise ConfigFailed(_WITHOUT_CIPHERS) from None
    return read_keys(os.environ)


@lru_cache(maxsize=1)
def _opened_sqlite(folder: Path, locks: Path, keys: tuple[bytes, ...]) -> SqliteStore:
    from kiro_auth.store.sqlite import SqliteStore
    from kiro_auth.store.written import Writing

    sealer: Seals | None = None
    if keys:
        from kiro_auth.store.sealed import Sealer

        sealer = Sealer(list(keys))
    return SqliteStore(folder, locks, Writing(sealer))


def database_store(url: str) -> PostgresStore:
    """The store in the database at `url`, the same one for the whole program.  Raises ConfigFailed."""
    try:
        from kiro_auth.store.sealed import read_keys
    except ImportError:
        raise ConfigFailed(_WITHOUT_LIBRARIES) from None
    return _opened(url, tuple(read_keys(os.environ)), state_folder() / "locks")


@lru_cache(maxsize=1)
def _opened(url: str, keys: tuple[bytes, ...], locks: Path) -> PostgresStore:
    try:
        from kiro_auth.store.postgres import PostgresStore
    except ImportError:
        raise ConfigFailed(_WITHOUT_LIBRARIES) from None
    return PostgresStore(url, list(keys), locks)


def other_places(account_id: str) -> list[str]:
    """Where else this user has the account, or may have it: `store copy` leaves it where it was."""
    where = where_kept()
    return [place for place in (FILES, SQLITE) if place != where and _may_hold(place, account_id)]


def _may_hold(place: str, account_id: str) -> bool:
    try:
        found = store_at(place).snapshot()
    except (ConfigFailed, StoreFailed):
        return True
    ids = [*(record.get("id") for record in found.accounts), *found.unreadable]
    return account_id in ids


def own_ledger(config: Config | None = None) -> Ledger:
    """The turns of all gateways on that store.  Raises ConfigFailed."""
    return ledger_at(where_kept(config))


def ledger_at(where: str) -> Ledger:
    """The ledger that goes with a value of the option `store`.  Raises ConfigFailed."""
    return database_ledger(where) if is_database(where) else file_ledger()


def file_ledger() -> LocalLedger:
    """The turns of this user on this machine."""
    return LocalLedger(state_folder() / LEDGER)


def database_ledger(url: str) -> PostgresLedger:
    """The turns in the database at `url`, the same one for the whole program.  Raises ConfigFailed."""
    return _opened_ledger(url, database_store(url))


@lru_cache(maxsize=1)
def _opened_ledger(url: str, store: PostgresStore) -> PostgresLedger:
    from kiro_auth.ledger.postgres import PostgresLedger

    return PostgresLedger(url, store.database, spools())


def spools() -> Path:
    """Where the turns of this user on this machine are that the database does not have yet."""
    from kiro_auth.ledger.spool import FOLDER

    return state_folder() / FOLDER


def own_store(config: Config | None = None) -> Store:
    """What is written down, and the API key of the environment as one account more, if there is one."""
    key = environment_key()
    if not key:
        return kept_store(config)
    from kiro_auth.login.api_key import key_record  # brings the network's code with it

    return WithEphemeral(kept_store(config), key_record(key))


def has_several_owners() -> bool:
    """Whether the accounts may be several people's, as in a database; those in its files are one user's."""
    return is_database(load().store)


def is_database(where: str) -> bool:
    """Whether a value of the option `store` is a database's address, and not files of this user."""
    return where not in (FILES, SQLITE)


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
