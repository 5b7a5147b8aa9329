"""The ways to sign in: what was typed with `kiro-auth login`, else what a person answers.

In a terminal a value that cannot be used is told and asked for again; elsewhere it ends the command.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import typer
from msgspec import Struct

from kiro_auth.cli.output import is_interactive, print_failure, say
from kiro_auth.cli.questions import ask, choice_of
from kiro_auth.cli.sign_in import Shown, Wanted, signed_in
from kiro_auth.failures import WrongValue
from kiro_auth.login.regions import read_region
from kiro_auth.login.start_url import read_start_url

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.config import Config


class Options(Struct, frozen=True):
    """What was typed with the command."""

    builder_id: bool
    start_url: str | None
    region: str | None
    api_key: bool


def account_by(options: Options, config: Config, shown: Shown) -> Account:
    """The account, by what was typed with the command, else by what the person answers."""
    may_ask = is_interactive() and not shown.json
    if options.api_key:
        if options.region is not None:
            read_region(options.region)  # before a key is asked for
        shown.say_terms()
        return _with_typed_key(options.region) if sys.stdin.isatty() else _with_piped_key(options.region)
    wanted = _wanted(config, options)
    if wanted is None and may_ask:
        return _asked(config, shown)
    default = Wanted("idc") if config.sso_start_url else Wanted("builder-id")
    return asyncio.run(signed_in(config, wanted or default, shown))


def _wanted(config: Config, options: Options) -> Wanted | None:
    """What was typed with the command; None where nothing was."""
    if options.builder_id:
        if options.start_url is not None or options.region is not None:
            raise typer.BadParameter("--builder-id takes neither --start-url nor --region.")
        return Wanted("builder-id")
    if options.region is not None and options.start_url is None and not config.sso_start_url:
        raise typer.BadParameter("--region belongs to an organisation: add --start-url.")
    if options.start_url is None and options.region is None:
        return None
    return Wanted("idc", options.start_url, options.region)


def _asked(config: Config, shown: Shown) -> Account:
    typer.echo("How do you sign in to Kiro?")
    typer.echo("  1  AWS Builder ID")
    typer.echo("  2  AWS SSO (IAM Identity Center) of your organisation")
    typer.echo("  3  a Kiro API key")
    say("Google, GitHub or a company's own: sign in with Kiro, then kiro-auth accounts import")
    way = ask("Choose", choice_of(3), default="2" if config.sso_start_url else "1")
    if way == 1:
        return asyncio.run(signed_in(config, Wanted("builder-id"), shown))
    if way == 3:
        shown.say_terms()
        return _with_typed_key(None)
    return _with_organisation(config, shown)


def _with_organisation(config: Config, shown: Shown) -> Account:
    """Asks until the service knows the start URL; what was typed stands there for the next time."""
    wanted = Wanted("idc", config.sso_start_url, config.sso_region or config.default_region)
    while True:
        wanted = _organisation(wanted)
        try:
            return asyncio.run(signed_in(config, wanted, shown))
        except WrongValue as error:
            print_failure(error.failure)


def _organisation(typed: Wanted) -> Wanted:
    start_url = ask("Start URL of your organisation", _typed_start_url, default=typed.start_url or "")
    if read_start_url(start_url).kind == "builder-id":
        return Wanted("idc", start_url, typed.region)
    question = "AWS region of your IAM Identity Center (not of Kiro)"
    return Wanted("idc", start_url, ask(question, _typed_region, default=typed.region or ""))


def _typed_start_url(text: str) -> str:
    read_start_url(text)
    return text


def _typed_region(text: str) -> str:
    read_region(text)
    return text


def _with_typed_key(region: str | None) -> Account:
    from kiro_auth.login.api_key import checked

    while True:
        # Asked outside the event loop, which would take the first Ctrl-C for itself.
        key = ask("Kiro API key", checked, hidden=True)
        try:
            return asyncio.run(_with_key(key, region))
        except WrongValue as error:
            print_failure(error.failure)


def _with_piped_key(region: str | None) -> Account:
    """With the key from where no other user of the machine can read it: not from the arguments."""
    return asyncio.run(_with_key(sys.stdin.readline(), region))


async def _with_key(key: str, region: str | None) -> Account:
    from kiro_auth.gateway.parts import open_own_parts
    from kiro_auth.login.api_key import sign_in

    async with open_own_parts() as service:
        return await sign_in(service.client, service.store, key, region)
