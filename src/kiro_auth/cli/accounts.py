"""`kiro-auth accounts`: the accounts there are, their state, and what to do about it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.output import iso_time, masked, print_json, print_note, print_table

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.store.store import Record, Store

app = typer.Typer(invoke_without_command=True, help="List the accounts; show, enable, disable or remove one.")

KINDS = {
    "builder-id": "AWS Builder ID",
    "idc": "IAM Identity Center",
    "social": "Google or GitHub",
    "external-idp": "company sign-in",
    "api-key": "API key",
}
SHORTEST_ID = 6
"""How many digits of an id stand for the account; fewer, or none by mistake, stand for nothing."""
NAME = typer.Argument(help="The account's name as `kiro-auth accounts` shows it, or the start of its id.")
JSON = typer.Option(False, "--json", help="Print JSON.")


@app.callback()
def accounts(context: typer.Context, json: bool = JSON) -> None:
    """List the accounts; show, enable, disable or remove one."""
    if context.invoked_subcommand is None:
        list_(json)


@app.command("list")
def list_(json: bool = JSON) -> None:
    """List the accounts with their state."""
    found = _accounts(_store())
    now = time.time()
    if json:
        print_json({"accounts": [described(account) for account in found]})
        return
    if not found:
        typer.echo("No account yet. Sign in: kiro-auth login")
        return
    rows = [
        (a.name, KINDS[a.kind], a.service_region, state_text(a, now), masked(a.real_email or a.email))
        for a in found
    ]
    print_table(("name", "kind", "region", "state", "e-mail"), rows)


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
def enable(name: str = NAME) -> None:
    """Let the account take requests again."""
    from kiro_auth.accounts.health import READY

    _change(name, READY, "ready")


@app.command()
def disable(name: str = NAME) -> None:
    """Keep the account, but send it no requests."""
    _change(name, {"state": "disabled", "stateReason": "switched off by you", "stateUntil": None}, "disabled")


@app.command()
def remove(name: str = NAME) -> None:
    """Forget the account, its tokens and its usage, for good."""
    store = _store()
    account = find(store, name)
    store.remove_account(account.id)
    typer.echo(f"Removed: {account.name}.")


@app.command()
def verify(name: str = NAME) -> None:
    """Ask Kiro whether the account works; one that does is used again, whatever its state was."""
    asyncio.run(_verify(name))


async def _verify(name: str) -> None:
    from kiro_auth.accounts.health import READY
    from kiro_auth.accounts.quota import usage_row
    from kiro_auth.cli.service import open_service
    from kiro_auth.gateway.credentials import credentials_of

    async with open_service() as service:
        account = await service.pool.fresh(find(service.store, name))
        answer = await service.client.usage_limits(credentials_of(account))
        service.store.change_usage(account.id, usage_row(answer, time.time()))
        service.store.change_account(account.id, {**READY, "stateSince": round(time.time() * 1000)})
    typer.echo(f"{account.name} works and is in use.")


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


def _change(name: str, fields: Record, state: str) -> None:
    store = _store()
    account = find(store, name)
    store.change_account(account.id, {**fields, "stateSince": round(time.time() * 1000)})
    typer.echo(f"{account.name}: {state}.")


def _store() -> Store:
    from kiro_auth.cli.service import file_store

    return file_store()


def _accounts(store: Store) -> list[Account]:
    from msgspec import ValidationError

    from kiro_auth.accounts.account import account_of

    found = []
    for record in store.accounts():
        try:
            found.append(account_of(record))
        except ValidationError as error:
            print_note(f"The account {str(record.get('id'))[:8]} cannot be read: {error}.")
    return found
