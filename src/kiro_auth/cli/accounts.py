"""`kiro-auth accounts`: the accounts there are, their state, and what to do about it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli import imports
from kiro_auth.cli.output import NO_ACCOUNT, iso_time, masked, print_json, print_note, print_table

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.store.store import Record, Store

app = typer.Typer(
    invoke_without_command=True, help="List the accounts; show, verify, enable, disable or remove one."
)

KINDS = {
    "builder-id": "AWS Builder ID",
    "idc": "IAM Identity Center",
    "social": "Google or GitHub",
    "external-idp": "company sign-in",
    "api-key": "API key",
}
_PROXY = re.compile(r"https?://([^\s/@]+@)?[\w.-]+(:\d+)?/?")
SHORTEST_ID = 6
"""How many digits of an id stand for the account; fewer, or none by mistake, stand for nothing."""
NAME = typer.Argument(help="The account's name as `kiro-auth accounts` shows it, or the start of its id.")
JSON = typer.Option(False, "--json", help="Print JSON.")


app.command("import")(imports.import_)
app.command("export")(imports.export)


@app.callback()
def accounts(context: typer.Context, json: bool = JSON) -> None:
    """List the accounts; show, verify, enable, disable or remove one."""
    if context.invoked_subcommand is None:
        list_(json)


@app.command("list")
def list_(json: bool = JSON) -> None:
    """List the accounts with their state."""
    found = stored()
    if json:
        print_json({"accounts": [described(account) for account in found]})
    else:
        print_accounts(found)


def print_accounts(found: list[Account]) -> None:
    """The accounts as a table, or how to get one."""
    if not found:
        typer.echo(NO_ACCOUNT)
        return
    now = time.time()
    rows = [
        (a.name, KINDS[a.kind], a.service_region, state_text(a, now), masked(a.real_email or a.email))
        for a in found
    ]
    print_table(("name", "kind", "region", "state", "e-mail"), rows)


def stored() -> list[Account]:
    """Every account that can be read."""
    return _accounts(_store())


@app.command()
def show(name: str = NAME, json: bool = JSON) -> None:
    """Show everything that is known of one account; never a token."""
    facts = described(find(_store(), name))
    if json:
        print_json(facts)
        return
    for key, value in facts.items():
        if value is not None:
            typer.echo(f"{key:15} {value}")


@app.command()
def enable(name: str = NAME, json: bool = JSON) -> None:
    """Let the account take requests again."""
    from kiro_auth.accounts.health import READY

    _change(name, READY, "ready", json)


@app.command()
def disable(name: str = NAME, json: bool = JSON) -> None:
    """Keep the account, but send it no requests."""
    fields = {"state": "disabled", "stateReason": "switched off by you", "stateUntil": None}
    _change(name, fields, "disabled", json)


@app.command("set")
def set_(
    name: str = NAME,
    label: str | None = typer.Option(None, help="What to call it."),
    proxy: str | None = typer.Option(None, help="A proxy for this account alone: http://host:port."),
    profile_arn: str | None = typer.Option(None, help="The Kiro profile to use."),
    profile_region: str | None = typer.Option(None, help="The region that serves it."),
    json: bool = JSON,
) -> None:
    """Change how an account is called, reached or served; an empty value takes a setting back."""
    from kiro_auth.accounts.account import account_of
    from kiro_auth.config import region

    if profile_region:
        region(profile_region)
    if proxy and not _PROXY.fullmatch(proxy):
        raise typer.BadParameter("must be http://host:port or https://host:port", param_hint="--proxy")
    given = {"label": label, "proxy": proxy, "profileArn": profile_arn, "profileRegion": profile_region}
    store = _store()
    account = find(store, name)
    fields = {field: value or None for field, value in given.items() if value is not None}
    record = store.change_account(account.id, fields)
    changed = account if record is None else account_of(record)
    if json:
        print_json(described(changed))
    else:
        typer.echo(f"{changed.name}: {', '.join(sorted(fields)) or 'nothing'} changed.")


@app.command()
def remove(name: str = NAME, json: bool = JSON) -> None:
    """Forget the account, its tokens and its usage, for good."""
    store = _store()
    account = find(store, name)
    store.remove_account(account.id)
    if json:
        print_json({"removed": described(account)})
    else:
        typer.echo(f"Removed: {account.name}.")


@app.command()
def verify(
    name: str | None = typer.Argument(None, help="As for `show`; without it, every account."),
    json: bool = JSON,
) -> None:
    """Ask Kiro whether an account, or every one, works; one that does is used again, whatever its state was.

    Exit code 1 when one does not.
    """
    found = asyncio.run(_verify(name))
    if json:
        print_json({"accounts": found})
    for account in found:
        if account["works"] and not json:
            typer.echo(f"{account['name']} works and is in use.")
        elif not account["works"]:
            print_note(f"{account['name']}: {account['failure']}")
    if not all(account["works"] for account in found):
        raise typer.Exit(1)


async def _verify(name: str | None) -> list[dict[str, Any]]:
    """What is known of each account asked for, whether it `works`, and else the `failure`."""
    from kiro_auth.accounts.account import account_of
    from kiro_auth.accounts.health import READY
    from kiro_auth.cli.service import open_service
    from kiro_auth.failures import KiroAuthError

    found: list[dict[str, Any]] = []
    async with open_service() as service:
        for account in [find(service.store, name)] if name else service.pool.accounts():
            try:
                await service.read_usage(account)
                since = round(time.time() * 1000)
                record = service.store.change_account(account.id, {**READY, "stateSince": since})
                working = account if record is None else account_of(record)
                found.append({**described(working), "works": True, "failure": None})
            except KiroAuthError as error:
                found.append({**described(account), "works": False, "failure": error.failure.sentence()})
    return found


def described(account: Account) -> dict[str, Any]:
    """One account for programs; times are ISO 8601 in UTC, secrets are left out."""
    from kiro_auth.accounts import health

    now = time.time()
    state = health.effective(account, now)
    return {
        "id": account.id,
        "name": account.name,
        "kind": account.kind,
        "email": masked(account.real_email or account.email) or None,
        "plan": account.extra.get("plan"),
        "startUrl": account.sso_start_url,
        "signInRegion": account.region,
        "serviceRegion": account.service_region,
        "profileArn": account.profile_arn,
        "profileName": account.profile_name,
        "proxy": account.proxy and re.sub(r"//[^/@]*@", "//…@", account.proxy),
        "state": state,
        "stateReason": account.state_reason,
        "stateUntil": iso_time(account.state_until) if state != "ready" else None,
        "nextStep": health.failure_of(account, now).next_step
        if state in health.STATE_AFTER.values()
        else None,
        "tokenExpires": iso_time(account.expires_at),
        "signInExpires": iso_time(account.client_secret_expires_at),
    }


def state_text(account: Account, now: float) -> str:
    """A state as people read it, with its reason, its end and the next step."""
    from kiro_auth.accounts import health

    state = health.effective(account, now)
    if state in ("ready", "disabled"):
        return f"{state}: {account.state_reason}" if account.state_reason else state
    return f"{state}: {health.failure_of(account, now).sentence()}"


def find(store: Store, name: str) -> Account:
    """The account of this name, or whose id starts so.  Raises ConfigFailed when not exactly one fits."""
    from kiro_auth.failures import ConfigFailed, Failure

    known = _accounts(store)
    named = [account for account in known if account.name == name]
    fitting = named or [a for a in known if len(name) >= SHORTEST_ID and a.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    what = "No account is" if not fitting else "More than one account is"
    raise ConfigFailed(
        Failure(
            code="KA-CONFIG",
            message=f"{what} called {name!r}.",
            next_step="Names and ids: kiro-auth accounts --json",
        )
    )


def _change(name: str, fields: Record, state: str, json: bool) -> None:
    from kiro_auth.accounts.account import account_of

    store = _store()
    account = find(store, name)
    record = store.change_account(account.id, {**fields, "stateSince": round(time.time() * 1000)})
    if json:
        print_json(described(account if record is None else account_of(record)))
    else:
        typer.echo(f"{account.name}: {state}.")


def _store() -> Store:
    from kiro_auth.cli.service import file_store

    return file_store()


def _accounts(store: Store) -> list[Account]:
    from kiro_auth.accounts.account import account_of
    from kiro_auth.failures import StoreFailed

    found = []
    for record in store.accounts():
        try:
            found.append(account_of(record))
        except StoreFailed as error:
            print_note(error.failure.sentence())
    return found
