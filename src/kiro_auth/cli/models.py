"""`kiro-auth models`: the models your accounts have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import print_json, print_note, print_table

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure
    from kiro_auth.gateway.parts import Parts
    from kiro_auth.kiro.models import Model

_RENEWAL_SECONDS: Final = 10.0


def models(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the models, as Kiro lists them for each account now; OpenCode shows the same from then on."""
    listed = asyncio.run(_listed(print_note))
    if json:
        print_json({"models": [_described(model, names) for model, names in listed]})
        return
    rows = [
        (
            row["id"],
            f"{row['contextWindow']:,}",
            f"{row['maxOutput']:,}",
            " ".join(row["inputs"]),
            "" if row["creditRate"] is None else f"{row['creditRate']:g}",
            ", ".join(row["accounts"]),
        )
        for row in (_described(model, names) for model, names in listed)
    ]
    print_table(("model", "context", "output", "input", "credits", "accounts"), rows)


async def renew_list(seconds: float = _RENEWAL_SECONDS) -> None:
    """Write down the models for OpenCode, so that a sign-in is enough to see all of them there.

    Nothing is said of a list that cannot be had: the gateway asks again at the first turn.
    """
    from kiro_auth.failures import KiroAuthError

    with suppress(KiroAuthError, TimeoutError):
        async with asyncio.timeout(seconds):
            await _listed(lambda _: None)


async def _listed(on_refused: Callable[[str], None]) -> list[tuple[Model, list[str]]]:
    """Every model with the names of the accounts that list it, written down for OpenCode as well.

    `on_refused` hears of the accounts whose list cannot be had; when there is none at all, KiroAuthError is
    raised.
    """
    from kiro_auth.accounts.view import sentence_of
    from kiro_auth.failures import Failure, TurnFailed
    from kiro_auth.folders import state_folder
    from kiro_auth.gateway.catalog import card
    from kiro_auth.gateway.parts import open_own_parts
    from kiro_auth.opencode.models import FILE, write_models

    offered: dict[str, tuple[Model, list[str]]] = {}
    refused: list[Failure] = []
    async with open_own_parts() as service:
        accounts = await service.pool.fresh_accounts()
        # All at once: one that Kiro leaves without an answer holds up no other.
        answers = await asyncio.gather(*(_models_of(service, account) for account in accounts))
        for account, answer in zip(accounts, answers, strict=True):
            if isinstance(answer, Failure):
                refused.append(answer)
                on_refused(f"{account.name}: {sentence_of(answer, account)}")
                continue
            for model in answer:
                offered.setdefault(model.id, (model, []))[1].append(account.name)
        complete = not refused and len(accounts) == len(service.pool.usable())
    if not offered:
        raise TurnFailed(
            refused[0]
            if refused
            else Failure(
                code="KA-NO-ACCOUNT",
                message="No account is signed in and usable.",
                next_step="kiro-auth accounts says more; sign in: kiro-auth login",
            )
        )
    cards = [card(model) for model, _ in offered.values()]
    write_models(state_folder() / FILE, cards, complete=complete)
    return list(offered.values())


async def _models_of(service: Parts, account: Account) -> tuple[Model, ...] | Failure:
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.gateway.credentials import credentials_of
    from kiro_auth.kiro.models import parse

    try:
        return parse(await service.client.list_models(credentials_of(account)))
    except KiroAuthError as error:
        return error.failure


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
