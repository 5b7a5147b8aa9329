"""`kiro-auth models`: the models your accounts have."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import print_json, print_note, print_table, say
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure
    from kiro_auth.gateway.parts import Parts
    from kiro_auth.kiro.models import Model

_RENEWAL_SECONDS: Final = 10.0


def models(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the models of your accounts, with context window and credit rate.

    Kiro is asked now, also for accounts that are out of credits; OpenCode shows the same models from then on.
    """
    with waiting("Asking Kiro for its models"):
        listed, notes = asyncio.run(_listed())
    if json:
        print_json({"models": [_described(model, names) for model, names in listed]})
    else:
        described = [_described(model, names) for model, names in listed]
        rows = [
            (
                row["id"],
                f"{row['contextWindow']:,}",
                f"{row['maxOutput']:,}",
                " ".join(row["inputs"]),
                "" if row["creditRate"] is None else f"{row['creditRate']:g}",
                ", ".join(row["accounts"]),
            )
            for row in described
        ]
        columns = ("model", "context", "output", "input", "credits", "accounts")
        # What every row would say is said once, where a person reads it.
        alike = sys.stdout.isatty() and len({row[-1] for row in rows}) == 1
        cut = slice(-1 if alike else None)
        print_table(columns[cut], [row[cut] for row in rows], right=("context", "output", "credits"))
        if alike and len(described[0]["accounts"]) > 1:
            say("\nEach of these accounts has all of them:")
            for name in described[0]["accounts"]:
                say(f"  {name}")
    for note in notes:
        print_note(note)


async def renew_list(seconds: float = _RENEWAL_SECONDS) -> None:
    """Write down the models for OpenCode, so that a sign-in is enough to see all of them there.

    Nothing is said of a list that cannot be had: the gateway asks again at the first turn.
    """
    from kiro_auth.failures import KiroAuthError

    with suppress(KiroAuthError, TimeoutError):
        async with asyncio.timeout(seconds):
            await _listed()


async def _listed() -> tuple[list[tuple[Model, list[str]]], list[str]]:
    """Every model with the names of the accounts that list it, written down for OpenCode as well.

    Then what there is to say of accounts: why the list of one cannot be had, until when one is out of
    credits.  Raises KiroAuthError when no account has a list.
    """
    from kiro_auth.failures import Failure, TurnFailed
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.catalog import card
    from kiro_auth.gateway.parts import of_each, open_own_parts
    from kiro_auth.opencode.models import FILE, write_models

    offered: dict[str, tuple[Model, list[str]]] = {}
    async with open_own_parts() as service:
        accounts = service.pool.accounts()
        answers = await of_each(accounts, lambda account: _models_of(service, account))
        told = list(zip(accounts, answers, strict=True))
        for account, answer in told:
            for model in () if isinstance(answer, Failure) else answer:
                offered.setdefault(model.id, (model, []))[1].append(account.name)
        refused = [answer for answer in answers if isinstance(answer, Failure)]
        if not offered:
            raise TurnFailed(_no_list(refused))
        complete = not any(isinstance(answer, Failure) and _is_asked(service, a) for a, answer in told)
        notes = [note for account, answer in told if (note := _note(service, account, answer))]
    cards = [card(model) for model, _ in offered.values()]
    write_models(state_folder() / FILE, cards, complete=complete)
    return list(offered.values()), notes


async def _models_of(service: Parts, account: Account) -> tuple[Model, ...] | Failure:
    """The models of an account, which may be out of credits: a list costs none.  Else why there are none."""
    from kiro_auth.accounts import health
    from kiro_auth.accounts.view import named
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.gateway.credentials import credentials_of
    from kiro_auth.kiro.models import parse
    from kiro_auth.login.api_key import of_key

    if not _is_asked(service, account):
        return named(health.failure_of(account, service.clock.now()), account)
    try:
        fresh = await service.pool.fresh(account)
        return parse(await service.client.list_models(credentials_of(fresh)))
    except KiroAuthError as error:
        return named(of_key(error.failure, account), account)


def _is_asked(service: Parts, account: Account) -> bool:
    """Whether Kiro answers for the account, though it may refuse its requests for now."""
    from kiro_auth.accounts.health import effective

    return effective(account, service.clock.now()) in ("ready", "cooling", "quota")


def _note(service: Parts, account: Account, answer: tuple[Model, ...] | Failure) -> str | None:
    """Why an account's models are not listed, or what keeps it from serving them now."""
    from kiro_auth.accounts.view import named, stated_failure
    from kiro_auth.failures import Failure

    now = service.clock.now()
    if isinstance(answer, Failure):
        return None if account.state == "disabled" else f"{account.name}: {answer.spoken(now)}"
    stated = stated_failure(account, now)
    return f"{account.name}: {named(stated, account).spoken(now)}" if stated else None


def _no_list(refused: list[Failure]) -> Failure:
    """Why there are no models at all."""
    from kiro_auth.accounts.standing import NO_ACCOUNT
    from kiro_auth.failures import Failure

    if len(refused) == 1:
        return refused[0]
    if not refused:
        return NO_ACCOUNT
    return Failure(
        code="KA-ACCOUNTS-BUSY",
        message="Kiro lists no models for any of your accounts.",
        next_step="Ask why: kiro-auth accounts verify",
    )


def _described(model: Model, accounts: list[str]) -> dict[str, Any]:
    from kiro_auth.kiro.models import client_id

    return {
        "id": client_id(model),
        "name": model.name,
        "contextWindow": model.context_window,
        "maxOutput": model.max_output,
        "inputs": sorted(model.inputs),
        "thinks": model.thinks,
        "creditRate": model.rate,
        "accounts": accounts,
    }
