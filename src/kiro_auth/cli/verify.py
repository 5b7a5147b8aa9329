"""`kiro-auth accounts verify`: ask Kiro whether accounts work, and write the verdict down."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.output import NO_ACCOUNT, described, print_json, print_note, say
from kiro_auth.cli.pick import completions, picked_or_all
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
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
    from kiro_auth.gateway.verification import verify as verdict_on

    verdict = await verdict_on(service, account)
    failure = verdict.failure.sentence() if verdict.failure else None
    facts = {**described(verdict.account), "works": verdict.works, "failure": failure}
    return facts, verdict.sentence(time.time())
