"""Put the sign-ins of other programs among the accounts: new ones are added, known ones renewed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from kiro_auth.accounts.account import Account, account_of, new_id
from kiro_auth.accounts.health import READY, ready_after
from kiro_auth.kinds import KINDS
from kiro_auth.login.imports.held import Held
from kiro_auth.login.imports.linked import SOURCE
from kiro_auth.store.store import Record, Store

_LOCK_SECONDS: Final = 15.0
Change = Literal["added", "updated", "unchanged", "incomplete"]


class Added(Struct, frozen=True):
    """What became of one sign-in.  `incomplete`: it lacks what a renewal needs, so it is left alone."""

    change: Change
    account: Account | None


def add(store: Store, held: Held) -> Added:
    """Store one sign-in.  Raises StoreFailed.

    It is a known one if it comes from the same place, or has the same id, refresh token or key; never for its
    e-mail, profile or client, which several may share, unless the account of that client has ended.
    """
    if not held.whole:
        return Added("incomplete", None)
    with store.lock("sign-in", timeout=_LOCK_SECONDS):
        records = store.accounts()
        known = next((record for record in records if _is_same(record, held)), _ended(records, held))
        if known is None:
            record = _new(held, {str(r.get("label")) for r in records})
            store.add_account(record)
            return Added("added", account_of(record))
        is_newer = held.expires_at * 1000 > float(known.get("expiresAt") or 0)
        fields = {**(_renewed(known, held) if is_newer else {}), **_link(known, held)}
        if not fields:
            return Added("unchanged", account_of(known))
        account_id = str(known["id"])
        with store.lock(f"refresh-{account_id}", timeout=_LOCK_SECONDS):  # no refresh of the old tokens now
            changed = store.change_account(account_id, fields)
        return Added("updated", account_of(changed or known))


def _renewed(known: Record, held: Held) -> Record:
    """The fields of an account that newer tokens change."""
    standing = ready_after("signed in", known.get("state"), time.time()) or {}
    generation = int(known.get("generation") or 0) + 1
    return {**_tokens(held), **standing, "generation": generation}


def _ended(records: Iterable[Record], held: Held) -> Record | None:
    """The one account made with the same client whose sign-in has ended: this is what became of it."""
    client = held.client_id, held.client_secret
    ended = [
        record
        for record in records
        if record.get("state") == "sign-in"
        and held.source.linked
        and held.client_secret
        and (record.get("clientId"), record.get("clientSecret")) == client
    ]
    return ended[0] if len(ended) == 1 else None


def _link(record: Record, held: Held) -> Record:
    """What makes the account the other program's too, if it is not any other's yet."""
    if not held.source.linked or _source(record):
        return {}
    extra = record.get("kiroAuth")
    kept = extra if isinstance(extra, dict) else {}
    return {"kiroAuth": {**kept, SOURCE: msgspec.to_builtins(held.source)}}


def _source(record: Record) -> Any:
    extra = record.get("kiroAuth")
    source = extra.get(SOURCE) if isinstance(extra, dict) else None
    return source if isinstance(source, dict) and source.get("linked") else None


def _is_same(record: Record, held: Held) -> bool:
    extra = record.get("kiroAuth")
    source = extra.get(SOURCE) if isinstance(extra, dict) else None
    same_token = bool(held.refresh_token) and record.get("refreshToken") == held.refresh_token
    same_key = held.kind == "api-key" and record.get("accessToken") == held.access_token
    same_id = held.id is not None and record.get("id") == held.id
    return source == msgspec.to_builtins(held.source) or same_token or same_key or same_id


def _new(held: Held, taken: set[str]) -> Record:
    if held.record is not None:
        return _moved(held.record, taken)
    extra = {SOURCE: msgspec.to_builtins(held.source), "provider": held.provider}
    record: Record = {
        "id": held.id or new_id(),
        "email": held.email or KINDS[held.kind].placeholder,
        "authMethod": KINDS[held.kind].stored[0],
        "label": _unlike(f"{KINDS[held.kind].short} of {held.source.tool}", taken),
        "generation": 0,
        "region": held.region,
        "ssoStartUrl": held.start_url if KINDS[held.kind].has_start_url else None,
        "profileArn": held.profile_arn,
        "profileName": held.profile_name,
        **_tokens(held),
        **READY,
        "kiroAuth": {name: value for name, value in extra.items() if value is not None},
    }
    return {name: value for name, value in record.items() if value is not None}


def _tokens(held: Held) -> Record:
    ends = held.client_secret_expires_at
    return {
        "accessToken": held.access_token,
        "refreshToken": held.refresh_token,
        "expiresAt": round(held.expires_at * 1000),
        "clientId": held.client_id,
        "clientSecret": held.client_secret,
        "clientSecretExpiresAt": round(ends * 1000) if ends else None,
    }


def _moved(record: Mapping[str, Any], taken: set[str]) -> Record:
    """A record of another machine; what it shared with a program there it shares no more."""
    extra = record.get("kiroAuth")
    kept = {name: value for name, value in extra.items() if name != SOURCE} if isinstance(extra, dict) else {}
    label = record.get("label")
    return {**record, "kiroAuth": kept, **({"label": _unlike(str(label), taken)} if label else {})}


def _unlike(base: str, taken: Iterable[str]) -> str:
    """A label that no other account has."""
    label, number = base, 2
    while label in taken:
        label, number = f"{base} {number}", number + 1
    return label
