"""`kiro-auth login`: sign in with AWS Builder ID or an organisation's IAM Identity Center."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import typer

from kiro_auth.cli.models import renew_list
from kiro_auth.cli.next_steps import print_next_steps
from kiro_auth.cli.output import INTERRUPTED, described, print_json_line, print_note
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.store.protocol import Store


def _refuse(profile_region: str | None) -> None:
    if profile_region is not None:
        raise typer.BadParameter(
            "The region of a Kiro profile is found by itself after the sign-in, and --region is that of your "
            "IAM Identity Center. To change it later: kiro-auth accounts set NAME --profile-region REGION"
        )


def login(
    builder_id: bool = typer.Option(False, "--builder-id", help="Sign in with AWS Builder ID."),
    start_url: str | None = typer.Option(
        None, help="Your organisation's start URL, such as https://d-1234567890.awsapps.com/start."
    ),
    region: str | None = typer.Option(
        None, help="The AWS region of your organisation's IAM Identity Center (not of Kiro)."
    ),
    api_key: bool = typer.Option(
        False, "--api-key", help="Store a Kiro API key, read from a prompt or from stdin."
    ),
    browser: bool = typer.Option(
        False, "--browser", help="Show it on a page of this machine too, over SSH as well."
    ),
    no_browser: bool = typer.Option(False, "--no-browser", help="Show it in the terminal alone."),
    json: bool = typer.Option(False, "--json", help="Print one JSON value per line instead of text."),
    # An option of `accounts set` that people look for here; --region is taken for it.
    profile_region: str | None = typer.Option(None, hidden=True),
) -> None:
    """Sign in with your own account; the page and the code are always printed.

    Works without a browser on this machine: open the page anywhere. Without options it asks, or, where nobody
    can be asked, takes the configured organisation, else AWS Builder ID.
    """
    from kiro_auth import config as configuration

    _refuse(profile_region)
    config = configuration.load()
    for problem in config.problems:
        print_note(problem.sentence())
    if api_key and (builder_id or start_url):
        raise typer.BadParameter("--api-key takes neither --builder-id nor --start-url.")
    if browser and no_browser:
        raise typer.BadParameter("--browser and --no-browser exclude each other.")
    from kiro_auth.cli.sign_in import Shown
    from kiro_auth.cli.ways import Options, account_by

    terms = _prepared()
    try:
        options = Options(builder_id, start_url, region, api_key)
        page = browser or (False if no_browser else None)
        account = account_by(options, config, Shown(page=page, json=json, terms=terms))
    except (KeyboardInterrupt, typer.Abort):
        print("\nCancelled; nothing was changed.", file=sys.stderr, flush=True)
        raise typer.Exit(INTERRUPTED) from None
    _tell(account, json=json)
    asyncio.run(renew_list())
    if sys.stdout.isatty() and not json:
        print_next_steps(signed_in=True)


def _prepared() -> str | None:
    """Before anybody confirms anything: whether an account could be kept.  Raises StoreFailed.

    Gives what there is to say of Kiro's terms.
    """
    from kiro_auth.config import load
    from kiro_auth.gateway.options import KEYRING
    from kiro_auth.gateway.own_store import file_store, kept_store
    from kiro_auth.login.terms import notice_of_terms

    store = kept_store()
    if load().secrets == KEYRING:
        file_store().open_keyring()
    asyncio.run(_rehearse(store))
    return notice_of_terms(store)


async def _rehearse(store: Store) -> None:
    """The final write, which takes both locks and reads the file, but changes no account."""
    from kiro_auth.accounts.registry import LEASE_SECONDS, WAIT_SECONDS

    async with store.lease("sign-in", LEASE_SECONDS, wait=WAIT_SECONDS):
        await store.change("", {})


def _tell(account: Account, *, json: bool) -> None:
    if json:
        print_json_line({"event": "done", "account": described(account)})
    else:
        typer.echo(_summary(account))


def _summary(account: Account) -> str:
    """The last line: account, kind, region, plan."""
    where = account.service_region
    if where != account.region:
        where = f"served in {where}, signed in at {account.region}"
    plan = account.extra.get("plan")
    of_plan = f", plan {plan}" if plan else ""
    return f"Signed in: {account.name} ({KINDS[account.kind].words}, {where}{of_plan})."
