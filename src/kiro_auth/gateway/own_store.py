"""The store of the person whose program this is.

Nothing here imports the network's code, which would more than double the time that a command takes which only
reads or changes accounts.
"""

from __future__ import annotations

from kiro_auth.accounts.account import Account
from kiro_auth.failures import ConfigFailed, Failure
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.options import environment_key
from kiro_auth.keys.files import FileKeys
from kiro_auth.store.ephemeral import KEY_VARIABLE, WithEphemeral
from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import Store


def kept_store() -> FileStore:
    """What is written down."""
    return FileStore(config_folder(), state_folder() / "locks")


def own_store() -> Store:
    """What is written down, and the API key of the environment as one account more, if there is one."""
    key = environment_key()
    if not key:
        return kept_store()
    from kiro_auth.login.api_key import key_record  # brings the network's code with it

    return WithEphemeral(kept_store(), key_record(key))


def own_keys() -> FileKeys:
    """The client keys."""
    return FileKeys(config_folder(), state_folder())


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
