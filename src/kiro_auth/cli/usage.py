"""`kiro-auth usage`: what each account has used of its plan."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import typer

from kiro_auth.cli.output import iso_time, print_json, print_note, print_table


def usage(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show used, limit, reset and plan of every account, as Kiro says now.

    Where Kiro cannot be asked, the last known figures are shown, with their age.
    """
    rows = asyncio.run(_rows())
    if json:
        print_json({"accounts": rows})
        return
    if not rows:
        typer.echo("No account yet. Sign in: kiro-auth login")
        return
    print_table(("account", "used", "limit", "reset", "plan", "as of"), [_cells(row) for row in rows])


async def _rows() -> list[dict[str, Any]]:
    from kiro_auth.accounts.quota import DERIVED, usage_row
    from kiro_auth.cli.service import open_service
    from kiro_auth.failures import KiroAuthError
    from kiro_auth.gateway.credentials import credentials_of

    async with open_service() as service:
        for account in service.pool.accounts():
            try:
                fresh = await service.pool.fresh(account)
                answer = await service.client.usage_limits(credentials_of(fresh))
                service.store.change_usage(account.id, usage_row(answer, time.time()))
            except KiroAuthError as error:
                print_note(f"{account.name}: {error.failure.sentence()}")
        known = service.store.usage()
        return [
            {
                "account": account.name,
                "id": account.id,
                "used": known.get(account.id, {}).get("usedCount"),
                "usedSince": known.get(account.id, {}).get(DERIVED),
                "limit": known.get(account.id, {}).get("limitCount"),
                "resetAt": iso_time(known.get(account.id, {}).get("resetAt")),
                "plan": known.get(account.id, {}).get("plan") or account.extra.get("plan"),
                "asOf": iso_time(known.get(account.id, {}).get("lastSync")),
            }
            for account in service.pool.accounts()
        ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    figures = ("?" if row[name] is None else f"{row[name]:,.2f}" for name in ("used", "limit"))
    return (row["account"], *figures, row["resetAt"] or "", row["plan"] or "", row["asOf"] or "never")
