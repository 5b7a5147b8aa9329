"""`kiro-auth store`: where accounts are kept, when that is a database or one file that gateways share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import typer

from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import (
    counted,
    described,
    note_failure,
    print_json,
    print_note,
    readable_and_not,
    say,
)
from kiro_auth.failures import ConfigFailed, Failure

app = Commands(
    no_args_is_help=True,
    help="Prepare and test the database, or the SQLite file, that several gateways share.",
    epilog=examples(
        "export KIRO_STORE=postgresql://kiro@db.example.com/kiro",
        "export KIRO_STORE_KEY=$(openssl rand -base64 32)     keep it: without it nobody reads the accounts",
        "kiro-auth store migrate",
        "kiro-auth store copy --from files",
        "kiro-auth store copy --to sqlite     then set the option: KIRO_STORE=sqlite, or store in kiro.json",
    ),
)
JSON = typer.Option(False, "--json", help="Print JSON.")
_PLACE: Final = "files, sqlite, or the address of a database"


@app.command()
def migrate(json: bool = JSON) -> None:
    """Make the tables that this release needs, and seal with the newest key what an older one has sealed.

    It can be run again, and by several programs at once. Gateways of the release before go on meanwhile. What
    cannot be opened stays as it is, and is named.
    """
    from kiro_auth.gateway.options import FILES, SQLITE
    from kiro_auth.gateway.own_store import kept_store, where_kept

    where = where_kept()
    if where == FILES:
        raise _no_database()
    name, steps, sealed = _migrated_file() if where == SQLITE else _migrated_database(where)
    _, left = readable_and_not(kept_store())
    if json:
        print_json({"steps": steps, "sealedAnew": sealed, "unreadable": [*map(described, left)]})
        return
    made = f"made {counted(len(steps), 'step')}" if steps else "had all tables already"
    say(f"{name} {made}; {counted(sealed, 'account')} sealed anew.")


def _migrated_database(url: str) -> tuple[str, list[int], int]:
    from kiro_auth.gateway.own_store import database_store

    store = database_store(url)  # says what is missing before anything is made
    from kiro_auth.store import postgres

    async def run() -> tuple[list[int], int]:
        return await postgres.migrate(url), await store.seal_anew()

    return f"The database {store.name}", *asyncio.run(run())


def _migrated_file() -> tuple[str, list[int], int]:
    """Any use of the file makes the tables that it lacks; here nothing else does."""
    from kiro_auth.gateway.own_store import sqlite_store

    store = sqlite_store()
    steps = store.file.migrate()
    return f"The file {store.file.path}", steps, asyncio.run(store.write_anew())


@app.command()
def check(json: bool = JSON) -> None:
    """Say where accounts are kept, and whether they can be read there.

    Exit code 1 when one cannot, which is named, and so are turns of this machine that the database does not
    have yet.
    """
    from kiro_auth.folders import config_folder
    from kiro_auth.gateway.options import FILES, SQLITE
    from kiro_auth.gateway.own_store import database_store, kept_store, spools, sqlite_store, where_kept
    from kiro_auth.ledger.spool import count_waiting

    kept, old, turns = where_kept(), 0, 0
    if kept == FILES:
        where = f"files in {config_folder()}"
    elif kept == SQLITE:
        file = sqlite_store()
        old = file.count_old()
        where = f"the file {file.file.path}, {'sealed' if file.seals else 'in clear'}"
    else:
        database = database_store(kept)
        old = asyncio.run(database.count_old())
        where, turns = f"the database {database.name}", count_waiting(spools())
    accounts, unreadable = readable_and_not(kept_store())
    count = len(accounts) + len(unreadable)
    if json:
        print_json(
            {
                "where": where,
                "accounts": count,
                "sealedWithOlderKeys": old,
                "turnsWaiting": turns,
                "unreadable": [*map(described, unreadable)],
            }
        )
    else:
        readable = f"{len(unreadable)} cannot be read" if unreadable else "all readable"
        say(f"Accounts are kept in {where}: {counted(count, 'account')}, {readable}.")
        _note_of_check(old, turns)
    if unreadable:
        raise typer.Exit(1)


def _note_of_check(old: int, turns: int) -> None:
    if old:
        print_note(
            f"{counted(old, 'account')} not sealed with the newest key. To seal anew: kiro-auth store migrate"
        )
    if turns:
        print_note(
            f"{counted(turns, 'turn')} of this machine not in the ledger yet. "
            "A gateway that runs here sends them: kiro-auth serve"
        )


@app.command(
    epilog=examples("kiro-auth store copy --from files", "kiro-auth store copy --from sqlite --to files")
)
def copy(
    from_: str | None = typer.Option(None, "--from", metavar="PLACE", help=f"Copy what is there: {_PLACE}."),
    to: str | None = typer.Option(None, "--to", metavar="PLACE", help=f"Copy it there: {_PLACE}."),
    json: bool = JSON,
) -> None:
    """Copy accounts, client keys and the ledger from one place to another.

    The one that is not given is where the option `store` says. What is there already stays as it is, so a
    copy can be made again.
    """
    if from_ is None and to is None:
        raise typer.BadParameter("Give --from files, or --to files, or another place.")
    from kiro_auth.gateway import own_keys, own_store
    from kiro_auth.gateway.options import FILES

    source, target = _place(from_, "--from"), _place(to, "--to")
    if source == target:
        raise _no_database() if own_store.where_kept() == FILES == source else _one_place()
    from kiro_auth.keys.copying import copy as copy_keys
    from kiro_auth.ledger.copying import copy as copy_ledger
    from kiro_auth.store.copying import copy as copy_accounts

    comes_to_others = own_store.is_database(target) and not own_store.is_database(source)
    done = asyncio.run(copy_accounts(own_store.store_at(source), own_store.store_at(target)))
    owned = (*done.added, *done.there_already) if comes_to_others else None
    keys = copy_keys(own_keys.keys_at(source), own_keys.keys_at(target), accounts=owned)
    turns = 0
    if own_store.is_database(source) or own_store.is_database(target):  # else the ledger is the same file
        turns = copy_ledger(own_store.ledger_at(source), own_store.ledger_at(target))
    if json:
        print_json(
            {
                "added": done.added,
                "thereAlready": done.there_already,
                "keys": keys.added,
                "keysLeftOut": keys.left_out,
                "turns": turns,
                "unreadable": [*map(_described, done.unreadable.items())],
            }
        )
        return
    say(
        f"Copied {counted(len(done.added), 'account')}, {counted(keys.added, 'client key')} and "
        f"{counted(turns, 'turn')} of the ledger; "
        f"{counted(len(done.there_already), 'account')} there already."
    )
    for why in done.unreadable.values():
        note_failure(why)  # it is not copied
    _note_of_copy(keys.left_out, has_added=bool(done.added))


def _described(unreadable: tuple[str, Failure]) -> dict[str, Any]:
    from kiro_auth.accounts.roster import Unreadable

    return described(Unreadable(*unreadable))


def _note_of_copy(keys_left_out: Sequence[str], *, has_added: bool) -> None:
    if keys_left_out:
        print_note(
            f"Not copied, as there is another key of that name, or no account: {', '.join(keys_left_out)}. "
            "Who has such a key needs a new one: kiro-auth keys create NAME"
        )
    if has_added:
        print_note(
            "Use one of the two from now on: a sign-in that is renewed from both ends. "
            "Stop gateways that use the other one: kiro-auth stop"
        )


def _place(given: str | None, option: str) -> str:
    """Where that is, as the option `store` says it; that option's own where nothing was given."""
    from kiro_auth.gateway.own_store import where_kept
    from kiro_auth.options import OPTIONS

    if given is None:
        return where_kept()
    (store,) = (option for option in OPTIONS if option.name == "store")
    try:
        return str(store.kind.check(given))
    except ValueError:
        raise typer.BadParameter(f"It should be {_PLACE}.", param_hint=option) from None


def _no_database() -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message="No database is named: accounts are kept in files.",
            next_step="Name one: export KIRO_STORE=postgresql://user@host:port/name, or KIRO_STORE=sqlite",
        )
    )


def _one_place() -> ConfigFailed:
    return ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message="That would be copied to where it is.",
            next_step="Name two places: kiro-auth store copy --from files --to sqlite",
        )
    )
