"""`kiro-auth usage`: what each account has used of its plan."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.diet import print_diet
from kiro_auth.cli.output import NO_ACCOUNT, print_json, print_note, say, spoken
from kiro_auth.cli.spending import By, forget_all, print_spending
from kiro_auth.cli.usage_table import print_in_columns, print_in_terminal
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure
    from kiro_auth.gateway.parts import Parts
    from kiro_auth.ledger.forecast import Pace


BY = typer.Option(
    None,
    help="Show instead where the credits of this program's turns went: by day, model, project, session, "
    "client, account or key.",
)
SINCE = typer.Option(None, metavar="DAY", help="Of turns from this day or time on, such as 2026-11-01.")
UNTIL = typer.Option(None, metavar="DAY", help="Of turns up to the end of this day, or up to this time.")
CSV = typer.Option(False, "--csv", help="Print the turns' sums as CSV.")
FORGET = typer.Option(False, "--forget", help="Empty the ledger of turns, after a question.")
DIET = typer.Option(False, "--diet", help="Show what the input of the last turns consisted of.")
YES = typer.Option(False, "--yes", help="Do not ask.")


def usage(
    json: bool = typer.Option(False, "--json", help="Print JSON."),
    by: By | None = BY,
    since: str | None = SINCE,
    until: str | None = UNTIL,
    csv: bool = CSV,
    diet: bool = DIET,
    forget: bool = FORGET,
    yes: bool = YES,
) -> None:
    """Show how much of each plan is used, and when it begins anew; or with --by where the credits went.

    Kiro is asked now. Where it cannot be asked, the last known figures are shown, with their age. What was
    metered since then is counted in, and named (JSON: `usedSince`): it is our sum, not Kiro's figure. What
    Kiro metered for the last turn stands below (JSON: `lastTurn`), and when the plan is used up at your pace
    of the last two weeks, if there were enough turns (JSON: `forecast`).

    With --by the sums are those of the ledger, which has every turn of this program, and of no other. What a
    cheaper model answered because of the option thrift is named below (JSON: `thrift`).

    With --diet: how much of the last turns' input were tools, instructions, history and attachments, by
    estimated tokens. Tools that you do not need (MCP servers) are paid for in every turn.
    """
    sums = by or since or until or csv
    if sum(map(bool, (sums, diet, forget))) > 1:
        raise typer.BadParameter("--forget, --diet, and --by (--since, --until, --csv) exclude each other.")
    if diet:
        print_diet(as_json=json)
        return
    if forget:
        forget_all(yes=yes)
        return
    if sums:
        print_spending(by or By.DAY, since, until, as_json=json, as_csv=csv)
        return
    with waiting("Asking Kiro what is used"):
        rows, notes = asyncio.run(_asked())
    if json:
        print_json({"accounts": rows})
    elif not rows:
        say(NO_ACCOUNT)
    elif sys.stdout.isatty():
        print_in_terminal(rows, time.time())
    else:
        print_in_columns(rows, time.time())
    for note in notes:
        print_note(note)


async def _asked() -> tuple[list[dict[str, Any]], list[str]]:
    """The figures of every account, and why some are not of now."""
    from kiro_auth.gateway.parts import of_each, open_own_parts

    async with open_own_parts() as service:
        accounts = service.pool.accounts()
        failures = await of_each(accounts, lambda account: _failure(service, account))
        rows = service.store.snapshot().usage_rows()
        paces = _paces()
        figures = [
            {
                "account": account.name,
                "id": account.id,
                **_figures(rows.get(account.id, {})),
                "forecast": _forecast(rows.get(account.id, {}), paces.get(account.id)),
                "plan": rows.get(account.id, {}).get("plan") or account.extra.get("plan"),
            }
            for account in accounts
        ]
    told = zip(accounts, failures, strict=True)
    return figures, [f"{account.name}: {spoken(failure)}" for account, failure in told if failure]


async def _failure(service: Parts, account: Account) -> Failure | None:
    """Have the account's usage read; why that cannot be done."""
    from kiro_auth.accounts.view import named
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.login.api_key import of_key

    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        return named(of_key(error.failure, account), account)
    return None


def _paces() -> Mapping[str, Pace]:
    """What each account spent lately, by its id; nothing where the ledger cannot be read."""
    from kiro_auth.failures import StoreFailed
    from kiro_auth.gateway.own_store import own_ledger
    from kiro_auth.ledger.reading import paces

    try:
        return paces(own_ledger(), time.time())
    except StoreFailed as error:
        print_note(spoken(error.failure))
        return {}


def _forecast(row: Mapping[str, Any], pace: Pace | None) -> dict[str, Any] | None:
    """`runsOutAt` is None when the plan lasts until it begins anew; the whole: too little is known."""
    from kiro_auth.accounts.usage_row import used_credits
    from kiro_auth.ledger.forecast import forecast
    from kiro_auth.times import iso

    limit, used, reset = row.get("limitCount"), used_credits(row), row.get("resetAt")
    left = None if limit is None or used is None else limit - used
    found = forecast(pace, left, reset / 1000 if reset else None, time.time())
    if found is None:
        return None
    ends = None if found.ends is None else iso(found.ends * 1000)
    return {"creditsPerDay": round(found.per_day, 2), "runsOutAt": ends}


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """`used` is the service's last figure, `usedSince` was metered after it, `share` is of both together."""
    from kiro_auth.accounts.usage_row import used_credits
    from kiro_auth.store.protocol import DERIVED, LAST_TURN
    from kiro_auth.times import iso

    limit, total = row.get("limitCount"), used_credits(row)
    return {
        "used": row.get("usedCount"),
        "usedSince": row.get(DERIVED),
        "lastTurn": row.get(LAST_TURN),
        "limit": limit,
        "share": None if total is None or not limit else round(total / limit, 4),
        "resetAt": iso(row.get("resetAt")),
        "asOf": iso(row.get("lastSync")),
        "parts": [{**part, "endsAt": iso(part.get("endsAt"))} for part in row.get("parts") or ()],
        "overage": row.get("overage"),
    }
