"""`kiro-auth measure`: what can be said of Kiro's metering only by trying it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import typer

from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import confirmed, is_interactive, print_json, print_note, readable, say
from kiro_auth.cli.pick import NAME, named_or_picked
from kiro_auth.cli.tables import print_table
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.gateway.caching_trial import Measured

app = Commands(help="Try out what Kiro meters, with your own credits.")
MODEL: Final = typer.Option("claude-sonnet-4.5", help="The model to ask, as `kiro-auth models` lists it.")
ROUNDS: Final = typer.Option(1, min=1, max=10, help="How often all is measured; the averages are shown.")
YES: Final = typer.Option(False, "--yes", help="Do not ask.")
_EXAMPLES: Final = examples("kiro-auth measure caching", "kiro-auth measure caching ada --rounds 3 --yes")


@app.command(epilog=_EXAMPLES)
def caching(
    name: str | None = NAME,
    model: str = MODEL,
    rounds: int = ROUNDS,
    yes: bool = YES,
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Compare what Kiro meters for a turn that it has seen before, with and without cache points.

    Four turns are sent for each round, of about 9,000 tokens each, straight to Kiro: a new conversation
    (cold) and the same once more (warm), without cache points and with them. You are asked before. This
    program sends no cache points otherwise. The turns are not in the ledger.
    """
    from kiro_auth.gateway.own_store import own_store

    accounts = readable(own_store())
    only = accounts[0] if len(accounts) == 1 and name is None else None
    account = only or named_or_picked(accounts, name, ask=not json)
    if not yes and not _agreed(model, rounds, may_ask=is_interactive() and not json):
        say("Nothing was sent.")
        return
    with waiting("Asking Kiro"):
        turns = asyncio.run(_measured(account, model, rounds))
    if json:
        print_json({"account": account.name, "model": model, "turns": turns})
        return
    _print(turns)


def _agreed(model: str, rounds: int, *, may_ask: bool) -> bool:
    """Say what it takes, and ask.  Raises ConfigFailed where nobody can be asked."""
    from kiro_auth.failures import ConfigFailed, Failure
    from kiro_auth.gateway.caching_trial import INPUT_TOKENS, KINDS

    count = len(KINDS) * rounds
    what = f"{count} turns of about {INPUT_TOKENS:,} tokens each go to {model}"
    if not may_ask:
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"Nobody can be asked: {what}, which uses credits.",
                next_step="Say so: kiro-auth measure caching --yes",
            )
        )
    say(f"{what}. {_cost(model, count * INPUT_TOKENS)}")
    return confirmed("Send them?", default=False)


def _cost(model: str, tokens: int) -> str:
    from kiro_auth.failures import StoreFailed
    from kiro_auth.gateway.own_store import own_ledger
    from kiro_auth.ledger.reading import cost_of_input

    try:
        cost = cost_of_input(own_ledger(), model)
    except StoreFailed:
        cost = None
    if cost is None:
        return "What they cost is not known: the ledger has no turns of this model."
    return f"By the ledger's turns of this model that is about {cost * tokens:,.2f} credits."


async def _measured(account: Account, model: str, rounds: int) -> list[Measured]:
    from kiro_auth.gateway.caching_trial import measure
    from kiro_auth.gateway.credentials import credentials_of
    from kiro_auth.gateway.parts import open_own_parts
    from kiro_auth.kiro import models

    turns: list[Measured] = []
    async with open_own_parts() as parts:
        fresh = await parts.pool.fresh(account)
        listed = models.parse(await parts.client.list_models(credentials_of(fresh)))
        await measure(parts, account, models.resolve(model, listed).model, rounds, turns.append)
    return turns


def _print(turns: list[Measured]) -> None:
    from kiro_auth.gateway.caching_trial import mean

    rows, shares = [], []
    for points, words in ((False, "without cache points"), (True, "with cache points")):
        cold, warm = (mean(turns, cache_points=points, warm=warm) for warm in (False, True))
        share = None if not cold or warm is None else warm / cold
        shares.append(share)
        rows.append((words, _figure(cold), _figure(warm), "" if share is None else f"{share:.0%}"))
    columns = ("credits of a turn", "cold", "warm", "warm of cold")
    print_table(columns, rows, right=("cold", "warm", "warm of cold"))
    without, with_points = shares
    if without is None or with_points is None:
        print_note("Kiro did not meter each of these turns, so there is nothing to compare.")
        return
    say(f"\n{_verdict(without, with_points)}")


def _figure(value: float | None) -> str:
    return "not said" if value is None else f"{value:.4f}"


_NOTICEABLE: Final = 0.05
"""A difference that is no chance: answers differ by some words."""


def _verdict(without: float, with_points: float) -> str:
    """One sentence of what the figures say, and no more than that."""
    if with_points < without - _NOTICEABLE:
        return "With cache points a warm turn costs less here."
    if without < 1 - _NOTICEABLE:
        return "Kiro caches by itself here; cache points make no difference."
    return "Nothing shows here that Kiro caches, with cache points or without."
