"""`kiro-auth login`: sign in with AWS Builder ID or an organisation's IAM Identity Center."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from kiro_auth.cli.models import renew_list
from kiro_auth.cli.next_steps import print_next_steps
from kiro_auth.cli.output import INTERRUPTED, described, is_interactive, print_json_line, print_note
from kiro_auth.kinds import KINDS

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.config import Config
    from kiro_auth.login.device_flow import DeviceSignIn, Prompt
    from kiro_auth.login.profiles import Profile
    from kiro_auth.store.protocol import Store


class Wanted(Struct, frozen=True):
    """Which sign-in to do; absent values come from the configuration."""

    kind: str
    start_url: str | None = None
    region: str | None = None


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
    no_browser: bool = typer.Option(False, "--no-browser", help="Do not try to open a browser."),
    json: bool = typer.Option(False, "--json", help="Print one JSON value per line instead of text."),
) -> None:
    """Sign in with your own account; the page and the code are always printed.

    Works without a browser on this machine: open the page anywhere. Without options it asks, or, where nobody
    can be asked, takes the configured organisation, else AWS Builder ID.
    """
    from kiro_auth import config as configuration

    config = configuration.load()
    for problem in config.problems:
        print_note(problem.sentence())
    if api_key and (builder_id or start_url):
        raise typer.BadParameter("--api-key takes neither --builder-id nor --start-url.")
    _check_store()
    try:
        if api_key:
            # Asked outside the event loop, which would take the first Ctrl-C for itself.
            account = asyncio.run(_with_key(_key(), region))
        else:
            wanted = _wanted(config, builder_id, start_url, region, ask=is_interactive() and not json)
            account = asyncio.run(_sign_in(config, wanted, browser=not no_browser, json=json))
    except (KeyboardInterrupt, typer.Abort):
        print("\nCancelled; nothing was changed.", file=sys.stderr, flush=True)
        raise typer.Exit(INTERRUPTED) from None
    _tell(account, json=json)
    asyncio.run(renew_list())
    if sys.stdout.isatty() and not json:
        print_next_steps(signed_in=True)


def _check_store() -> None:
    """Whether an account could be kept, before anybody confirms anything.  Raises StoreFailed."""
    from kiro_auth.gateway.own_store import kept_store

    asyncio.run(_rehearse(kept_store()))


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


def _key() -> str:
    """The key, from where no other user of the machine can read it: not from the arguments."""
    if sys.stdin.isatty():
        return str(typer.prompt("Kiro API key", hide_input=True, err=True))
    return sys.stdin.readline()


async def _with_key(key: str, region: str | None) -> Account:
    from kiro_auth.gateway.parts import open_own_parts
    from kiro_auth.login.api_key import sign_in

    async with open_own_parts() as service:
        return await sign_in(service.client, service.store, key, region)


def _wanted(
    config: Config, builder_id: bool, start_url: str | None, region: str | None, *, ask: bool
) -> Wanted:
    if builder_id:
        if start_url or region:
            raise typer.BadParameter("--builder-id takes neither --start-url nor --region.")
        return Wanted("builder-id")
    if start_url:
        return Wanted("idc", start_url, region)
    if region:
        if not config.sso_start_url:
            raise typer.BadParameter("--region belongs to an organisation: add --start-url.")
        return Wanted("idc", None, region)
    if ask:
        return _asked(config)
    return Wanted("idc") if config.sso_start_url else Wanted("builder-id")


def _asked(config: Config) -> Wanted:
    typer.echo("How do you sign in to Kiro?")
    typer.echo("  1  AWS Builder ID")
    typer.echo("  2  AWS SSO (IAM Identity Center) of your organisation")
    default = 2 if config.sso_start_url else 1
    if typer.prompt("Choose", default=default, type=int) != 2:
        return Wanted("builder-id")
    start_url = config.sso_start_url or typer.prompt("Start URL of your organisation").strip()
    if not any(known in start_url for known in (".awsapps.com", "identitycenter.amazonaws.com")):
        print_note(
            "Start URLs mostly look like https://d-1234567890.awsapps.com/start; trying it all the same."
        )
    region = config.sso_region or typer.prompt(
        "AWS region of your IAM Identity Center (not of Kiro)", default=config.default_region
    )
    return Wanted("idc", start_url, region.strip())


async def _sign_in(config: Config, wanted: Wanted, *, browser: bool, json: bool) -> Account:
    from kiro_auth.failures import SignInFailed
    from kiro_auth.gateway.parts import open_own_parts

    async with open_own_parts() as service:
        sign_in = service.new_sign_in(_choose if is_interactive() and not json else None)
        try:
            account = await _once(config, sign_in, wanted, browser=browser, json=json)
        except SignInFailed as error:
            if error.failure.reason != "expired_token":
                raise
            print_note("The code has expired before it was confirmed; here is a new one.")
            account = await _once(config, sign_in, wanted, browser=browser, json=json)
    for notice in sign_in.notices:
        print_note(notice)
    return account


async def _once(
    config: Config, sign_in: DeviceSignIn, wanted: Wanted, *, browser: bool, json: bool
) -> Account:
    from kiro_auth.failures import SignInFailed
    from kiro_auth.login.browser import open_page

    prompt = await sign_in.start(wanted.kind, wanted.start_url, wanted.region)
    _show(prompt, json=json)
    if not browser:
        return await sign_in.finish()
    from kiro_auth.login.page import served

    ports = config.auth_server_port_start, config.auth_server_port_range
    async with served(prompt, *ports) as page:
        if page is not None and not json:
            print(f"This machine shows it too: {page.url}", flush=True)
        await asyncio.to_thread(open_page, prompt.url if page is None else page.url)
        try:
            account = await sign_in.finish()
        except SignInFailed as error:
            if page is not None:
                page.failed(error.failure.sentence())
                await page.ended()
            raise
        if page is not None:
            page.done(account.name)
    return account


def _show(prompt: Prompt, *, json: bool) -> None:
    """The page and the code, out at once, before anything else is tried."""
    if prompt.notice:
        print_note(prompt.notice)
    if json:
        print_json_line(
            {"event": "prompt", "url": prompt.url, "code": prompt.code, "expiresAt": round(prompt.expires_at)}
        )
        return
    print(f"Open this page in any browser:\n\n  {prompt.url}\n")
    print(f"and confirm this code:\n\n  {prompt.code}\n")
    print("Waiting for the confirmation… (Ctrl-C to cancel)", flush=True)


def _choose(profiles: Sequence[Profile]) -> Profile:
    typer.echo("Your organisation gave you several Kiro profiles:")
    for number, profile in enumerate(profiles, 1):
        typer.echo(f"  {number}  {profile.name or profile.arn} in {profile.region}")
    number = 0
    while not 1 <= number <= len(profiles):
        number = typer.prompt("Which one", default=1, type=int)
    return profiles[number - 1]


def _summary(account: Account) -> str:
    """The last line: account, kind, region, plan."""
    where = account.service_region
    if where != account.region:
        where = f"served in {where}, signed in at {account.region}"
    plan = account.extra.get("plan")
    of_plan = f", plan {plan}" if plan else ""
    return f"Signed in: {account.name} ({KINDS[account.kind].words}, {where}{of_plan})."
