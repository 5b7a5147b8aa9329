"""`kiro-auth accounts`: the accounts there are, their state, and what to do about it."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli import imports, migrate_secrets, verify
from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import (
    confirmed,
    described,
    is_interactive,
    print_accounts,
    print_json,
    print_note,
    readable,
    readable_and_not,
    say,
)
from kiro_auth.cli.pick import NAME, named_or_picked
from kiro_auth.cli.terminal import fitted

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.accounts.roster import Unreadable
    from kiro_auth.store.protocol import Record, Store

app = Commands(
    invoke_without_command=True,
    help="List the accounts; show, verify, enable, disable or remove one.",
    epilog=examples(
        "kiro-auth accounts",
        "kiro-auth accounts show ann",
        "kiro-auth accounts set ann --label work",
        "kiro-auth accounts verify",
        "kiro-auth accounts migrate-secrets",
    ),
)

_PROXY: Final = re.compile(r"https?://([^\s/@]+@)?[\w.-]+(:\d+)?/?")
_LONGEST_LABEL: Final = 60
YES = typer.Option(False, "--yes", help="Do not ask.")
JSON = typer.Option(False, "--json", help="Print JSON.")


app.command("import")(imports.import_)
app.command("export")(imports.export)
app.command("migrate-secrets")(migrate_secrets.migrate_secrets)


@app.callback()
def accounts(context: typer.Context, json: bool = JSON) -> None:
    """List the accounts; show, verify, enable, disable or remove one."""
    if context.invoked_subcommand is None:
        list_(json)


@app.command("list")
def list_(json: bool = JSON) -> None:
    """List the accounts with their state."""
    from kiro_auth.gateway.own_store import own_store

    accounts, unreadable = readable_and_not(own_store())
    if json:
        print_json({"accounts": [*map(described, accounts)], "unreadable": [*map(described, unreadable)]})
    else:
        print_accounts(accounts)


@app.command()
def show(name: str | None = NAME, json: bool = JSON) -> None:
    """Show everything that is known of one account.

    Tokens are left out.
    """
    from kiro_auth.accounts.view import facts
    from kiro_auth.gateway.own_store import own_store

    account = named_or_picked(readable(own_store()), name, ask=not json)
    if json:
        print_json(described(account))
        return
    for what, text in facts(account, time.time()):
        mark = f"{what:14}"
        print(mark + fitted(text, sys.stdout, margin=len(mark)))


@app.command()
def enable(name: str | None = NAME, json: bool = JSON) -> None:
    """Let the account take requests again."""
    from kiro_auth.accounts.health import ready_after

    _change(name, lambda account: ready_after("enabled", account.state, time.time()), "ready", json)


@app.command()
def disable(name: str | None = NAME, json: bool = JSON) -> None:
    """Keep the account, but send it no requests."""
    from kiro_auth.accounts.health import disabled

    _change(name, lambda _: disabled(time.time()), "disabled", json)


@app.command("set")
def set_(
    name: str | None = NAME,
    label: str | None = typer.Option(None, help="What to call it; no other account may be called so."),
    proxy: str | None = typer.Option(None, help="A proxy for this account alone: http://host:port."),
    profile_arn: str | None = typer.Option(None, help="The Kiro profile to use."),
    profile_region: str | None = typer.Option(None, help="The region that serves it."),
    json: bool = JSON,
) -> None:
    """Change how an account is called, reached or served; an empty value takes a setting back.

    Without a label an account is called by its e-mail as far as you recognise it, else by its organisation,
    else by its kind and the start of its id.
    """
    from kiro_auth.login.regions import read_region, unknown_region

    if profile_region:
        profile_region = read_region(profile_region)
        if unknown := unknown_region(profile_region):
            print_note(unknown)
    if proxy and not _PROXY.fullmatch(proxy):
        raise typer.BadParameter("must be http://host:port or https://host:port", param_hint="--proxy")
    given = {"label": label, "proxy": proxy, "profileArn": profile_arn, "profileRegion": profile_region}
    store, account = _to_change(name, json)
    if label is not None:
        _check_label(store, account, label)
    fields = {field: value or None for field, value in given.items() if value is not None}
    record = asyncio.run(store.change(account.id, fields))
    changed = account if record is None else _again(store, account)
    if json:
        print_json(described(changed))
    else:
        say(_changed(account, changed, fields))


@app.command()
def remove(name: str | None = NAME, yes: bool = YES, json: bool = JSON) -> None:
    """Forget an account, its tokens and its usage, for good; in a terminal it asks before it does."""
    from kiro_auth.gateway.own_store import other_places
    from kiro_auth.login.tools.sqlite import clear_copies

    store, account = _to_remove(name, json)
    question = f"Forget {account.name}, its tokens and its usage?"
    if not yes and not json and is_interactive() and not confirmed(question, default=False):
        typer.echo("Nothing was changed.")
        return
    if not asyncio.run(store.remove(account.id)):
        print_note("It was gone already.")
    clear_copies()
    if json:
        print_json({"removed": described(account)})
    else:
        say(f"Removed: {account.name}.")
    for place in other_places(account.id):
        command = f"KIRO_STORE={place} kiro-auth logout {shlex.quote(account.name)}"
        print_note(
            f"Its tokens may still be in {place}, from before a copy. To forget them there too: {command}"
        )


app.command("verify")(verify.verify)


def _changed(before: Account, after: Account, fields: Mapping[str, object]) -> str:
    if set(fields) == {"label"} and before.name != after.name:
        return f"{before.name} is now called {after.name}."
    return f"{after.name}: {', '.join(sorted(fields)) or 'nothing'} changed."


def _check_label(store: Store, account: Account, label: str) -> None:
    """Whether the account can be found by it afterwards, and a table can show it.  Raises BadParameter."""
    from msgspec.structs import replace

    from kiro_auth.accounts.apart import told_apart
    from kiro_auth.accounts.names import without_emails

    if label and not label.strip():
        raise typer.BadParameter("must not be blank; an empty one takes it back", param_hint="--label")
    if not label.isprintable():
        raise typer.BadParameter("must be one line, without control characters", param_hint="--label")
    if len(label) > _LONGEST_LABEL:
        raise typer.BadParameter(f"must have {_LONGEST_LABEL} characters at most", param_hint="--label")
    if without_emails(label) != label:
        raise typer.BadParameter(
            "must hold no e-mail address, as names stand in logs; by its e-mail the account is found anyway",
            param_hint="--label",
        )
    others = [other for other in readable(store) if other.id != account.id]
    if label and told_apart([replace(account, label=label), *others])[0].apart:
        raise typer.BadParameter(f"another account is called {label!r}", param_hint="--label")


def _to_change(name: str | None, json: bool) -> tuple[Store, Account]:
    """The store, and the account in it that is to be changed.  Raises ConfigFailed."""
    from kiro_auth.gateway.own_store import check_changeable, own_store

    store = own_store()
    account = named_or_picked(readable(store), name, ask=not json)
    check_changeable(store, account)
    return store, account


def _to_remove(name: str | None, json: bool) -> tuple[Store, Account | Unreadable]:
    """As `_to_change`; it may be an account that cannot be read."""
    from kiro_auth.accounts.find import find_any
    from kiro_auth.accounts.roster import Unreadable
    from kiro_auth.gateway.own_store import check_changeable, own_store

    store = own_store()
    accounts, unreadable = readable_and_not(store)
    account = find_any(accounts, unreadable, name) if name else named_or_picked(accounts, name, ask=not json)
    if not isinstance(account, Unreadable):
        check_changeable(store, account)
    return store, account


def _change(name: str | None, fields: Callable[[Account], Record | None], state: str, json: bool) -> None:
    store, account = _to_change(name, json)
    record = asyncio.run(store.change(account.id, fields(account) or {}))
    if json:
        print_json(described(account if record is None else _again(store, account)))
    else:
        say(f"{account.name}: {state}.")


def _again(store: Store, account: Account) -> Account:
    """The account as it is by now; its name is told apart from those of the others."""
    from kiro_auth.accounts import roster

    accounts, _ = roster.readable(store.snapshot().accounts)
    return next((stored for stored in accounts if stored.id == account.id), account)
