"""`kiro-auth keys`: a key of its own for each person and program that uses the gateway."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from kiro_auth.cli.help import Commands, examples
from kiro_auth.cli.output import print_json, print_note, print_table, readable, say

if TYPE_CHECKING:
    from kiro_auth.keys.changes import Changes, Made
    from kiro_auth.keys.key import Budget, ClientKey
    from kiro_auth.keys.protocol import AuditRow

CREATE: Final = examples(
    "kiro-auth keys create ann",
    "kiro-auth keys create ci --models 'claude-haiku-*' --budget 5/day --concurrency 2",
    "kiro-auth keys create guest --accounts work --expires 2026-12-31 --json",
)
app = Commands(
    help="Make, list, revoke and rotate keys for people and programs, each with limits of its own.",
    epilog=CREATE,
    no_args_is_help=True,
)
JSON: Final = typer.Option(False, "--json", help="Print JSON.")
_NAME: Final = typer.Argument(help="What the key is called in lists and logs.")
_MOST: Final = 1_000_000
"""Answers at a time, and credits of a budget, that a key may be given."""
_BUDGET: Final = re.compile(r"(\d+(?:\.\d+)?)/(day|month)")
_SPAN: Final = re.compile(r"(\d{1,5})([hd])")
_SECONDS: Final = {"h": 3600, "d": 86400}
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


@app.command(epilog=CREATE)
def create(
    name: str = _NAME,
    models: list[str] = typer.Option(
        [], "--models", help="Models it may use, by commas; * stands for any letters. Without: all."
    ),
    accounts: list[str] = typer.Option(
        [], "--accounts", help="Accounts it may use, by commas. Without: all of yours. In a database: needed."
    ),
    budget: str | None = typer.Option(None, "--budget", help="Credits it may spend: 5/day or 100/month."),
    concurrency: int | None = typer.Option(
        None, "--concurrency", min=1, max=_MOST, help="Answers at a time."
    ),
    expires: str | None = typer.Option(None, "--expires", help="A day, whose end counts, or 30d, 12h."),
    json: bool = JSON,
) -> None:
    """Make a key. It is shown this once: only its hash is kept."""
    from kiro_auth.keys.changes import Limits

    limits = Limits(
        models=_listed(models, "--models"),
        accounts=_ids(_listed(accounts, "--accounts")),
        budget=_budget(budget),
        concurrency=concurrency,
        expires=_moment(expires, time.time()),
    )
    _show(_changes().create(name, limits), json)


@app.command("list")
def list_(
    audit: bool = typer.Option(False, "--audit", help="Show who made, revoked and rotated keys, and when."),
    json: bool = JSON,
) -> None:
    """List the keys with their limits and what they used today and this month."""
    from kiro_auth.gateway.own_keys import own_keys

    if audit:
        _show_audit(own_keys().audit(), json)
    else:
        _show_keys(own_keys().keys(), json)


@app.command(epilog=examples("kiro-auth keys revoke ann"))
def revoke(name: str = _NAME, json: bool = JSON) -> None:
    """Let nobody in with a key any more. A gateway that runs knows within a second."""
    key = _changes().revoke(name)
    if json:
        print_json({"id": key.id, "name": key.name})
    else:
        say(f"The key {key.name} is revoked. Answers under way are finished.")


@app.command(epilog=examples("kiro-auth keys rotate ann"))
def rotate(name: str = _NAME, json: bool = JSON) -> None:
    """Give a key's holder a new secret; the old one ends at once, limits and figures stay."""
    _show(_changes().rotate(name), json)


def _changes() -> Changes:
    from kiro_auth import config
    from kiro_auth.gateway.own_keys import own_keys
    from kiro_auth.gateway.own_store import has_several_owners
    from kiro_auth.keys.changes import Changes

    shared = has_several_owners()
    return Changes(
        own_keys(),
        f"{_user()} at {socket.gethostname()}" if shared else _user(),
        time.time(),
        share_accounts=config.load().share_accounts,
        several_owners=shared,
    )


def _user() -> str:
    """Who runs this, as the system says it: a variable of the environment may name anybody."""
    if sys.platform == "win32":
        from getpass import getuser

        return getuser()
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"user {os.getuid()}"


def _show(made: Made, as_json: bool) -> None:
    if as_json:
        print_json({"id": made.key.id, "name": made.key.name, "key": made.secret})
        return
    typer.echo(made.secret)
    print_note(f"That is the key {made.key.name}. It is not shown again: kiro-auth keeps only its hash.")


def _listed(given: list[str], option: str) -> tuple[str, ...]:
    """The names; an option that names none, as by an empty variable, is no word for all."""
    names = tuple(dict.fromkeys(word.strip() for text in given for word in text.split(",") if word.strip()))
    if given and not names:
        raise typer.BadParameter("names nothing; leave it out to allow all", param_hint=option)
    return names


def _ids(names: tuple[str, ...]) -> tuple[str, ...]:
    """The accounts of these whole names: a part of one may be another person's.  Raises ConfigFailed."""
    if not names:
        return ()
    from kiro_auth.accounts.find import find
    from kiro_auth.gateway.own_store import own_store

    accounts = readable(own_store())
    return tuple(dict.fromkeys(find(accounts, name, parts=False).id for name in names))


def _budget(text: str | None) -> Budget | None:
    if text is None:
        return None
    from kiro_auth.keys.key import Budget

    match = _BUDGET.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= _MOST:
        hint = f"must be credits above 0, {_MOST:,} at most, as in 5/day or 100/month"
        raise typer.BadParameter(hint, param_hint="--budget")
    return Budget(float(match[1]), "day" if match[2] == "day" else "month")


def _moment(text: str | None, now: float) -> float | None:
    if text is None:
        return None
    try:
        if span := _SPAN.fullmatch(text):
            moment = now + int(span[1]) * _SECONDS[span[2]]
        else:
            day = _DAY.fullmatch(text)
            moment = datetime.fromisoformat(f"{text}T23:59:59" if day else text).timestamp()
    except (ValueError, OverflowError, OSError):
        moment = 0.0
    if moment <= now:
        hint = "must be to come: a day such as 2026-12-31, a time such as 2026-12-31T08:30, 30d or 12h"
        raise typer.BadParameter(hint, param_hint="--expires")
    return moment


def _show_keys(keys: Any, as_json: bool) -> None:
    now = time.time()
    names = _account_names() if any(key.accounts for key in keys) else {}
    used = _used(now) if keys else {}
    if as_json:
        print_json({"keys": [_described(key, now, used.get(key.id, {})) for key in keys]})
    elif not keys:
        say("No client key yet. Make one: kiro-auth keys create NAME")
    else:
        rows = [
            (
                key.name,
                _state(key, now),
                _limits(key, names),
                f"{used.get(key.id, {}).get('today', 0.0):,.2f}",
                f"{used.get(key.id, {}).get('month', 0.0):,.2f}",
            )
            for key in keys
        ]
        print_table(("name", "state", "limits", "today", "month"), rows, right=("today", "month"))


def _used(now: float) -> dict[str, dict[str, float]]:
    """What each key spent today and this month, by its id, as the ledger knows it.  Raises StoreFailed."""
    from datetime import UTC

    from kiro_auth.gateway.own_store import has_several_owners, own_ledger
    from kiro_auth.keys.spending import bounds
    from kiro_auth.ledger.reading import totals

    ledger, found = own_ledger(), {}
    zone = UTC if has_several_owners() else None  # budgets go by the same days
    for total in totals(ledger, by="key", since=bounds("month", now, zone)[0]):
        found[str(total.key)] = {"today": 0.0, "month": round(total.credits, 6)}
    for total in totals(ledger, by="key", since=bounds("day", now, zone)[0]):
        found[str(total.key)]["today"] = round(total.credits, 6)
    return found


def _account_names() -> dict[str, str]:
    from kiro_auth.gateway.own_store import own_store

    return {account.id: account.name for account in readable(own_store())}


def _state(key: ClientKey, now: float) -> str:
    if key.revoked is not None:
        return "revoked"
    return "ready" if key.is_live(now) else "expired"


def _limits(key: ClientKey, names: dict[str, str]) -> str:
    from kiro_auth.times import utc

    parts = [
        *key.models,
        *(names.get(id_, "an account that is gone") for id_ in key.accounts),
        str(key.budget) if key.budget else "",
        f"{key.concurrency} at a time" if key.concurrency else "",
        f"until {utc(key.expires)}" if key.expires else "",
    ]
    return "; ".join(filter(None, parts)) or "none"


def _described(key: ClientKey, now: float, used: dict[str, float]) -> dict[str, Any]:
    from kiro_auth.times import iso

    budget = {"credits": key.budget.credits, "period": key.budget.period} if key.budget else None
    return {
        "id": key.id,
        "name": key.name,
        "state": _state(key, now),
        "created": iso(key.created * 1000),
        "expires": iso(key.expires * 1000) if key.expires else None,
        "revoked": iso(key.revoked * 1000) if key.revoked else None,
        "models": key.models or None,
        "accounts": key.accounts or None,
        "budget": budget,
        "concurrency": key.concurrency,
        "credits": {"today": used.get("today", 0.0), "month": used.get("month", 0.0)},
    }


def _show_audit(rows: list[AuditRow], as_json: bool) -> None:
    from kiro_auth.times import iso, utc

    if as_json:
        told = [
            {
                "when": iso(row.when * 1000),
                "who": row.who,
                "what": row.what,
                "id": row.id,
                "name": row.name,
                "limits": row.limits or None,
            }
            for row in rows
        ]
        print_json({"audit": told})
    elif not rows:
        say("No key was made yet.")
    else:
        print_table(
            ("when", "who", "what", "key", "id"), [(utc(r.when), r.who, r.what, r.name, r.id) for r in rows]
        )
