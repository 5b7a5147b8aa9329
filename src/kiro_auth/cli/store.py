"""`kiro-auth store`: the database that several gateways share, where the option `store` names one."""

from __future__ import annotations

import asyncio
from enum import StrEnum

import typer

from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import print_json, print_note, say
from kiro_auth.failures import ConfigFailed, Failure

app = Commands(
    no_args_is_help=True,
    help="Prepare and test the database that several gateways share.",
    epilog=examples(
        "export KIRO_STORE=postgresql://kiro@db.example.com/kiro",
        "export KIRO_STORE_KEY=$(openssl rand -base64 32)     keep it: without it nobody reads the accounts",
        "kiro-auth store migrate",
        "kiro-auth store copy --from files",
    ),
)
JSON = typer.Option(False, "--json", help="Print JSON.")


class Files(StrEnum):
    """What a database can be copied from and to."""

    FILES = "files"


@app.command()
def migrate(json: bool = JSON) -> None:
    """Make the tables that this release needs, and seal with the newest key what an older one has sealed.

    It can be run again, and by several programs at once. Gateways of the release before go on meanwhile.
    """
    url = _database()
    from kiro_auth.gateway.own_store import database_store

    store = database_store(url)  # says what is missing before anything is made
    from kiro_auth.store import postgres

    async def run() -> tuple[list[int], int]:
        return await postgres.migrate(url), await store.seal_anew()

    steps, sealed = asyncio.run(run())
    if json:
        print_json({"steps": steps, "sealedAnew": sealed})
        return
    made = f"made {_counted(len(steps), 'step')}" if steps else "had all tables already"
    say(f"The database {store.name} {made}; {_counted(sealed, 'account')} sealed anew.")


@app.command()
def check(json: bool = JSON) -> None:
    """Say where accounts are kept, and whether they can be read there.

    Exit code 1 when they cannot. Turns of this machine that the database does not have yet are named.
    """
    from kiro_auth.config import load
    from kiro_auth.folders import config_folder
    from kiro_auth.gateway.options import FILES
    from kiro_auth.gateway.own_store import database_store, kept_store, spools
    from kiro_auth.ledger.spool import count_waiting

    store = kept_store()
    if load().store == FILES:
        count, old, turns = len(store.snapshot().accounts), 0, 0
        where = f"files in {config_folder()}"
    else:
        database = database_store(load().store)
        count, old = asyncio.run(database.count_old())
        where, turns = f"the database {database.name}", count_waiting(spools())
    if json:
        print_json({"where": where, "accounts": count, "sealedWithOlderKeys": old, "turnsWaiting": turns})
        return
    say(f"Accounts are kept in {where}: {_counted(count, 'account')}, all readable.")
    if old:
        print_note(
            f"{_counted(old, 'account')} sealed with an older key. To seal anew: kiro-auth store migrate"
        )
    if turns:
        print_note(
            f"{_counted(turns, 'turn')} of this machine not in the ledger yet. "
            "A gateway that runs here sends them: kiro-auth serve"
        )


@app.command()
def copy(
    from_: Files | None = typer.Option(None, "--from", help="Copy what is there into the database."),
    to: Files | None = typer.Option(None, "--to", help="Copy what the database holds there."),
    json: bool = JSON,
) -> None:
    """Copy accounts, client keys and the ledger between the files of this user and the database.

    What is there already stays as it is, so a copy can be made again.
    """
    if (from_ is None) == (to is None):
        raise typer.BadParameter("Give either --from files or --to files.")
    url = _database()
    from kiro_auth.gateway import own_keys, own_store
    from kiro_auth.keys.copying import copy as copy_keys
    from kiro_auth.ledger.copying import copy as copy_ledger
    from kiro_auth.store.copying import copy as copy_accounts

    files = own_store.file_store(), own_keys.file_keys(), own_store.file_ledger()
    database = own_store.database_store(url), own_keys.database_keys(url), own_store.database_ledger(url)
    source, target = (files, database) if from_ is not None else (database, files)
    done = asyncio.run(copy_accounts(source[0], target[0]))
    owned = (*done.added, *done.there_already) if from_ is not None else None
    keys = copy_keys(source[1], target[1], accounts=owned)
    turns = copy_ledger(source[2], target[2])
    if json:
        print_json({"added": done.added, "thereAlready": done.there_already, "keys": keys, "turns": turns})
        return
    say(
        f"Copied {_counted(len(done.added), 'account')}, {_counted(keys, 'client key')} and "
        f"{_counted(turns, 'turn')} of the ledger; "
        f"{_counted(len(done.there_already), 'account')} there already."
    )
    if done.added:
        print_note(
            "Use one of the two from now on: a sign-in that is renewed from both ends. "
            "Stop gateways that use the other one: kiro-auth stop"
        )


def _database() -> str:
    """The address of the database.  Raises ConfigFailed when accounts are in files."""
    from kiro_auth.config import load
    from kiro_auth.gateway.options import FILES

    config = load()
    if config.unknown_store is not None:
        raise ConfigFailed(config.unknown_store)
    if config.store == FILES:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message="No database is named: accounts are kept in files.",
                next_step="Name one: export KIRO_STORE=postgresql://user@host:port/name",
            )
        )
    return config.store


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
