"""What is written to the log when something becomes of an account: its state, its tokens."""

from __future__ import annotations

import logging
from datetime import datetime

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.view import STATE_WORDS
from kiro_auth.events import noted
from kiro_auth.json_values import as_number
from kiro_auth.store.protocol import Record
from kiro_auth.times import NO_TIME, iso

log = logging.getLogger("kiro_auth.accounts")


def note_state(account: Account, wanted: Record, stored: Record | None) -> None:
    """Say which state the account has now, if the `wanted` fields are what is stored."""
    if stored is None or "state" not in wanted or stored.get("stateSince") != wanted.get("stateSince"):
        return
    code, until = wanted.get("stateCode"), as_number(wanted.get("stateUntil"))
    log.info(
        "%s is %s%s%s",
        account.name,
        STATE_WORDS.get(wanted["state"], wanted["state"]),
        f" ({code})" if code else "",
        f" until {_local(until)}" if until else "",
        extra=noted("account", account=account.name, state=wanted["state"], failure=code, until=iso(until)),
    )


def note_renewal(account: Account) -> None:
    """Say that the account has a new token, and how long that lasts."""
    log.info(
        "%s has a new token, good until %s",
        account.name,
        _local(account.expires_at),
        extra=noted("renewal", account=account.name, until=iso(account.expires_at)),
    )


def _local(milliseconds: float) -> str:
    try:
        then = datetime.fromtimestamp(milliseconds / 1000).astimezone()
    except (ValueError, OverflowError, OSError):  # a file may hold any number
        return NO_TIME
    return f"{then:%b} {then.day}, {then:%H:%M}"
