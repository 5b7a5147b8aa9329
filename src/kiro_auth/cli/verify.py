"""`kiro-auth accounts verify`: ask Kiro whether accounts work, and write the verdict down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import typer
from msgspec.structs import replace

from kiro_auth.cli.output import NO_ACCOUNT, described, print_json, print_note, say, spoken
from kiro_auth.cli.pick import completions, picked_or_all
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure
    from kiro_auth.gateway.parts import Parts


def verify(
    name: str | None = typer.Argument(
        None,
        autocompletion=completions,
        help="As for `show`; without it you pick one, or all. Where nobody can be asked: every account.",
    ),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Ask Kiro whether an account, or every one, works; one that does is used again.

    A disabled one stays so: without a name it is not even asked, and `works` is null in JSON, as for one that
    cannot be asked now. Exit code 1 when one does not work, or its plan is used up.
    """
    wanted = None if name or json else _picked()
    with waiting("Asking Kiro whether it works"):
        verdicts = asyncio.run(_verified(name if wanted is None else wanted.id))
    if json:
        print_json({"accounts": [facts for facts, _ in verdicts]})
    elif not verdicts:
        say(NO_ACCOUNT)
    for facts, verdict in verdicts:
        if not facts["works"]:
            print_note(verdict)
        elif not json:
            say(verdict)
    if any(facts["works"] is False for facts, _ in verdicts):
        raise typer.Exit(1)


def _picked() -> Account | None:
    """The account that the person picks; None: all of them."""
    from kiro_auth.cli.output import readable
    from kiro_auth.gateway.own_store import own_store

    accounts = readable(own_store())
    picked = picked_or_all(accounts)
    return picked[0] if len(picked) < len(accounts) else None


async def _verified(name: str | None) -> list[tuple[dict[str, Any], str]]:
    """What is known of each account asked for, with `works` and `failure`; and a sentence for people."""
    from kiro_auth.accounts.find import find
    from kiro_auth.gateway.parts import of_each, open_own_parts

    async with open_own_parts() as service:
        if name:
            return [await _asked(service, find(service.pool.accounts(), name))]
        return await of_each(
            service.pool.accounts(), lambda a: _skipped(a) if a.state == "disabled" else _asked(service, a)
        )


async def _skipped(account: Account) -> tuple[dict[str, Any], str]:
    from kiro_auth.accounts.health import enabling

    verdict = f"{account.name} is disabled and was not asked. To use it again: {enabling(account)}"
    return {**described(account), "works": None, "failure": None}, verdict


async def _asked(service: Parts, account: Account) -> tuple[dict[str, Any], str]:
    from kiro_auth.accounts.health import enabling
    from kiro_auth.accounts.view import named
    from kiro_auth.login.api_key import of_key

    failure = await _failure(service, account)
    if failure is not None and failure.code == "KA-THROTTLE":
        return _unanswered(service, account, failure)
    if failure is not None:
        await service.pool.verdicts.ended(account, failure)
    current = next((a for a in service.pool.accounts() if a.id == account.id), account)
    facts = {**described(current), "works": failure is None, "failure": None}
    if failure is not None:
        told = named(of_key(failure, account), account)
        facts["failure"] = told.sentence()
        return facts, f"{account.name}: {spoken(told)}"
    if current.state == "disabled":
        return facts, f"{account.name} works and stays disabled. To use it again: {enabling(account)}"
    return facts, f"{account.name} works and is in use."


def _unanswered(service: Parts, account: Account, failure: Failure) -> tuple[dict[str, Any], str]:
    """Kiro takes no more questions about usage for now, which says nothing about the account's requests."""
    from kiro_auth.accounts.view import named

    current = next((a for a in service.pool.accounts() if a.id == account.id), account)
    told = named(failure, account)
    facts = {**described(current), "works": None, "failure": told.sentence()}
    return facts, f"{account.name} could not be asked now, and stays as it was: {spoken(told)}"


async def _failure(service: Parts, account: Account) -> Failure | None:
    """Why the account does not work; None when it does, which is then written down."""
    from kiro_auth.accounts.health import ready_after
    from kiro_auth.accounts.usage_row import used_up
    from kiro_auth.failures import KiroAuthError

    try:
        await service.read_usage(account)
        row = service.store.snapshot().usage_rows().get(account.id, {})
        if account.state == "quota" and (failure := used_up(row)):
            return replace(failure, account=account.name)
        # As it stands by now: somebody may have switched it off meanwhile.
        record = service.store.snapshot().record(account.id) or {}
        state = record.get("state")
        if fields := ready_after("verified", state, service.clock.now()):
            await service.store.change(account.id, fields, if_unchanged={"state": state})
    except KiroAuthError as error:
        return error.failure
    return None
