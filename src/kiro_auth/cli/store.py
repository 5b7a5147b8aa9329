"""The user's store, and the accounts in it, for commands that need no service.

Nothing here imports the network's code, which would more than double the time that such a command takes.
"""

from __future__ import annotations

from typing import Final

from kiro_auth.accounts.account import Account, account_of
from kiro_auth.cli.output import print_note
from kiro_auth.failures import ConfigFailed, Failure, StoreFailed
from kiro_auth.folders import config_folder, state_folder
from kiro_auth.gateway.options import environment_key
from kiro_auth.store.ephemeral import KEY_VARIABLE, WithEphemeral
from kiro_auth.store.files import FileStore
from kiro_auth.store.protocol import Store

SHORTEST_ID: Final = 6
"""How many digits of an id stand for the account; fewer, or none by mistake, stand for nothing."""


def kept_store() -> FileStore:
    """The user's own store: what is written down."""
    return FileStore(config_folder(), state_folder() / "locks")


def file_store() -> Store:
    """The user's own store, and the API key of the environment as one account more, if there is one."""
    key = environment_key()
    if not key:
        return kept_store()
    from kiro_auth.login.api_key import key_record  # brings the network's code with it

    return WithEphemeral(kept_store(), key_record(key))


def accounts_in(store: Store) -> list[Account]:
    """Every account that can be read; the others are told of."""
    found = []
    for record in store.snapshot().accounts:
        try:
            found.append(account_of(record))
        except StoreFailed as error:
            print_note(error.failure.sentence())
    return found


def find(store: Store, name: str) -> Account:
    """The account of this name, or whose id starts so.  Raises ConfigFailed when not exactly one fits."""
    known = accounts_in(store)
    named = [account for account in known if account.name == name]
    fitting = named or [a for a in known if len(name) >= SHORTEST_ID and a.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    message = f"More than one account is called {name!r}." if fitting else f"No account is called {name!r}."
    if not fitting and name and any(account.id.startswith(name) for account in known):
        message += f" The start of an id needs {SHORTEST_ID} characters or more."
    raise ConfigFailed(
        Failure(code="KA-CONFIG", message=message, next_step="Names and ids: kiro-auth accounts --json")
    )


def find_to_change(store: Store, name: str) -> Account:
    """As `find`; the key of the environment, of which nothing can be kept, is refused with ConfigFailed."""
    account = find(store, name)
    if isinstance(store, WithEphemeral) and store.is_ephemeral(account.id):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{account.name!r} is there as long as the variable {KEY_VARIABLE} is; "
                "it is written down nowhere, so nothing of it can be changed.",
                next_step=f"To be rid of it: unset {KEY_VARIABLE}",
            )
        )
    return account
