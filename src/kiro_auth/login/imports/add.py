"""Put the sign-ins of other programs among the accounts: new ones are added, known ones renewed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct

from kiro_auth.accounts.account import Account, Kind, account_of, auth_method, new_id
from kiro_auth.accounts.health import READY
from kiro_auth.login.imports.held import Held
from kiro_auth.login.imports.linked import SOURCE
from kiro_auth.store.store import Record, Store

_LOCK_SECONDS: Final = 15.0
_PLACEHOLDER: Final = "builder-id@aws.amazon.com"
_KINDS: Final[dict[Kind, str]] = {
    "builder-id": "Builder ID",
    "idc": "organisation",
    "social": "Google or GitHub",
    "external-idp": "company sign-in",
    "api-key": "API key",
}

Change = Literal["added", "updated", "unchanged", "incomplete"]


class Added(Struct, frozen=True):
    """What became of one sign-in.  `incomplete`: it lacks what a renewal needs, so it is left alone."""

    change: Change
    account: Account | None


def add(store: Store, held: Held) -> Added:
    """Store one sign-in.  Raises StoreFailed.

    It is a known one if it comes from the same place, or has the same refresh token, client or id; never
    for its e-mail or profile, which several may share.
    """
    if not held.whole:
        return Added("incomplete", None)
    with store.lock("sign-in", timeout=_LOCK_SECONDS):
        records = store.accounts()
        known = next((record for record in records if _is_same(record, held)), None)
        if known is None:
            record = _new(held, {str(r.get("label")) for r in records})
            store.add_account(record)
            return Added("added", account_of(record))
        if held.expires_at * 1000 <= float(known.get("expiresAt") or 0):
            return Added("unchanged", account_of(known))
        changed = store.change_account(str(known["id"]), {**_tokens(held), **READY})
        return Added("updated", account_of(changed or known))


def _is_same(record: Record, held: Held) -> bool:
    extra = record.get("kiroAuth")
    source = extra.get(SOURCE) if isinstance(extra, dict) else None
    return (
        source == msgspec.to_builtins(held.source)
        or record.get("refreshToken") == held.refresh_token
        or (held.client_id is not None and record.get("clientId") == held.client_id)
        or (held.id is not None and record.get("id") == held.id)
    )


def _new(held: Held, taken: set[str]) -> Record:
    extra = {SOURCE: msgspec.to_builtins(held.source), "provider": held.provider}
    record: Record = {
        "id": held.id or new_id(),
        "email": held.email or _PLACEHOLDER,
        "authMethod": auth_method(held.kind),
        "label": _label(held, taken),
        "generation": 0,
        "region": held.region,
        "ssoStartUrl": held.start_url if held.kind == "idc" else None,
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


def _label(held: Held, taken: Iterable[str]) -> str:
    base = f"{_KINDS[held.kind]} of {held.source.tool}"
    label, number = base, 2
    while label in taken:
        label, number = f"{base} {number}", number + 1
    return label
