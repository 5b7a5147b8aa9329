"""`kiro-auth usage`: what each account has used of its plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.output import NO_ACCOUNT, print_json, print_note, print_table

if TYPE_CHECKING:
    from kiro_auth.accounts.account import Account
    from kiro_auth.gateway.parts import Parts

COLUMNS: Final = ("account", "used", "limit", "share", "reset", "plan", "as of")
_BAR: Final = 12
"""Characters of the bar that shows the share."""


def usage(json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show used, limit, reset and plan of every account, as Kiro says now.

    Where Kiro cannot be asked, the last known figures are shown, with their age. Credits that were metered
    since are told apart (JSON: `usedSince`): they are our sum, not Kiro's figure. What Kiro metered for the
    last turn stands below (JSON: `lastTurn`).
    """
    rows = asyncio.run(_rows())
    if json:
        print_json({"accounts": rows})
        return
    if not rows:
        typer.echo(NO_ACCOUNT)
        return
    print_table(COLUMNS, [_cells(row) for row in rows])
    for row in rows:
        for note in _notes(row):
            typer.echo(note)


async def _rows() -> list[dict[str, Any]]:
    from kiro_auth.gateway.parts import open_own_parts

    async with open_own_parts() as service:
        accounts = service.pool.accounts()
        # All at once: one that Kiro leaves without an answer holds up no other.
        for note in await asyncio.gather(*(_trouble(service, account) for account in accounts)):
            if note:
                print_note(note)
        rows = service.store.snapshot().usage_rows()
        return [
            {
                "account": account.name,
                "id": account.id,
                **_figures(rows.get(account.id, {})),
                "plan": rows.get(account.id, {}).get("plan") or account.extra.get("plan"),
            }
            for account in accounts
        ]


async def _trouble(service: Parts, account: Account) -> str | None:
    """Have the account's usage read; why that cannot be done."""
    from kiro_auth.accounts.view import sentence_of
    from kiro_auth.failures import KiroAuthError

    try:
        await service.read_usage(account)
    except KiroAuthError as error:
        return f"{account.name}: {sentence_of(error.failure, account)}"
    return None


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    """`used` is the service's last figure, `usedSince` was metered after it, `share` is of both together."""
    from kiro_auth.accounts.usage_row import used_credits
    from kiro_auth.accounts.view import iso_time
    from kiro_auth.store.protocol import DERIVED, LAST_TURN

    limit, total = row.get("limitCount"), used_credits(row)
    return {
        "used": row.get("usedCount"),
        "usedSince": row.get(DERIVED),
        "lastTurn": row.get(LAST_TURN),
        "limit": limit,
        "share": None if total is None or not limit else round(total / limit, 4),
        "resetAt": iso_time(row.get("resetAt")),
        "asOf": iso_time(row.get("lastSync")),
        "parts": [{**part, "endsAt": iso_time(part.get("endsAt"))} for part in row.get("parts") or ()],
        "overage": row.get("overage"),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    used, limit = ("?" if row[name] is None else f"{row[name]:,.2f}" for name in ("used", "limit"))
    if row["usedSince"]:
        used += f" + {row['usedSince']:,.2f}"
    return (
        row["account"], used, limit, _bar(row["share"]), row["resetAt"] or "", row["plan"] or "",
        row["asOf"] or "never",
    )  # fmt: skip


def _bar(share: float | None) -> str:
    if share is None:
        return "?"
    filled = min(_BAR, round(share * _BAR))
    return f"{'█' * filled}{'░' * (_BAR - filled)} {share:4.0%}"


def _notes(row: dict[str, Any]) -> list[str]:
    """What the last turn took, trials and bonuses, and use beyond the plan."""
    notes = []
    if row["lastTurn"] is not None:
        notes.append(f"{row['account']}: {row['lastTurn']:g} credits for the last turn")
    for part in row["parts"]:
        if part["kind"] != "plan":
            until = f" until {part['endsAt']}" if part["endsAt"] else ""
            notes.append(f"{row['account']}: {part['kind']}, {part['used']:g} of {part['limit']:g}{until}")
    if overage := row["overage"]:
        limit = f" of {overage['limit']:g}" if overage.get("limit") else ""
        notes.append(f"{row['account']}: beyond the plan, {overage['used']:g}{limit}")
    return notes
