"""`kiro-auth usage`: what each account has used of its plan."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from kiro_auth.cli.output import NO_ACCOUNT, print_json, print_note, say, spoken
from kiro_auth.cli.usage_table import print_in_columns, print_in_terminal
from kiro_auth.cli.waiting import waiting

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.failures import Failure
    from kiro_auth.gateway.parts import Parts


def usage(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show how much of each plan is used, and when it begins anew.

    Kiro is asked now. Where it cannot be asked, the last known figures are shown, with their age. What was
    metered since then is counted in, and named (JSON: `usedSince`): it is our sum, not Kiro's figure. What
    Kiro metered for the last turn stands below (JSON: `lastTurn`).
    """
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
        figures = [
            {
                "account": account.name,
                "id": account.id,
                **_figures(rows.get(account.id, {})),
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
