"""An account of a Kiro API key (`ksk_…`): nothing is refreshed, the key itself is the token."""

from __future__ import annotations

import time
from typing import Final

from kiro_auth.accounts.account import Account, account_of, new_id
from kiro_auth.accounts.health import READY, ready_after
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.failures import ConfigFailed, Failure, SignInFailed, TurnFailed
from kiro_auth.kinds import KINDS
from kiro_auth.kiro.client import Credentials, KiroClient
from kiro_auth.login.profiles import PROFILE_REGIONS, identity_of
from kiro_auth.store.ephemeral import KEY_VARIABLE
from kiro_auth.store.store import Record, Store

PREFIX: Final = "ksk_"
_ENVIRONMENT: Final = "environment"
_LOCK_SECONDS: Final = 15.0


def checked(key: str) -> str:
    """A key as a person pastes it, without the white space around it.  Raises SignInFailed."""
    key = key.strip()
    if not _has_form(key):
        raise SignInFailed(
            Failure(
                code="KA-LOGIN",
                message=f"That is no Kiro API key: it must begin with {PREFIX} and be whole.",
                next_step="Copy the key from https://app.kiro.dev once more.",
            )
        )
    return key


def _has_form(key: str) -> bool:
    return key.startswith(PREFIX) and key.isascii() and not any(c.isspace() for c in key) and "..." not in key


def key_record(key: str) -> Record:
    """The account of the environment's key, for a store that keeps it in memory.  Raises ConfigFailed."""
    key = key.strip()
    if not _has_form(key):
        raise ConfigFailed(
            Failure(
                code="KA-CONFIG",
                message=f"{KEY_VARIABLE} holds no Kiro API key: it must begin with {PREFIX} and be whole.",
                next_step=f"Copy the key from https://app.kiro.dev once more, or unset {KEY_VARIABLE}.",
            )
        )
    return {
        "id": _ENVIRONMENT,
        "label": f"key in {KEY_VARIABLE}",
        "authMethod": KINDS["api-key"].stored[0],
        "accessToken": key,
        "region": PROFILE_REGIONS[0],
    }


async def sign_in(client: KiroClient, store: Store, key: str, region: str | None = None) -> Account:
    """Ask the service whether the key works, in `region` or where keys are served, and store the account.

    The same person's other key replaces the one that is stored.  Raises SignInFailed, StoreFailed.
    """
    key = checked(key)
    refused: TurnFailed | None = None
    for place in [region] if region else PROFILE_REGIONS:
        try:
            usage = await client.usage_limits(Credentials(kind="api-key", token=key, region=place))
        except TurnFailed as error:
            refused = refused or error
        else:
            return _kept(store, key, place, usage)
    assert refused is not None
    raise SignInFailed(rejected(refused.failure)) from refused


def _kept(store: Store, key: str, region: str, usage: Record) -> Account:
    now, identity = time.time(), identity_of(usage)
    fields: Record = {
        **READY,
        "authMethod": KINDS["api-key"].stored[0],
        "accessToken": key,
        "region": region,
        "profileRegion": region,
        "realEmail": identity.email,
        "stateSince": round(now * 1000),
        "kiroAuth": {k: v for k, v in (("userId", identity.user_id), ("plan", identity.plan)) if v},
    }
    with store.lock("sign-in", timeout=_LOCK_SECONDS):
        record = _of_this_person(store.accounts(), key, identity.user_id)
        if record is not None:
            kept = READY if ready_after("signed in", record.get("state"), now) is None else {}
            changed = {name: value for name, value in fields.items() if name not in kept}
            record = store.change_account(str(record["id"]), changed)
        if record is None:
            taken = {str(row.get("label")) for row in store.accounts()}
            number = next(n for n in range(1, len(taken) + 2) if f"API key {n}" not in taken)
            record = {"id": new_id(), "email": identity.email, "label": f"API key {number}", **fields}
            record = {name: value for name, value in record.items() if value is not None}
            store.add_account(record)
    account = account_of(record)
    store.change_usage(account.id, usage_row(usage, now))
    return account


def _of_this_person(records: list[Record], key: str, user_id: str | None) -> Record | None:
    for record in records:
        extra = record.get("kiroAuth")
        same = isinstance(extra, dict) and user_id is not None and extra.get("userId") == user_id
        if record.get("authMethod") == "api-key" and (same or record.get("accessToken") == key):
            return record
    return None


def rejected(failure: Failure, account_id: str | None = None) -> Failure:
    """What a refusal means for a key, which is never refreshed; other failures as they are."""
    if failure.code not in ("KA-TOKEN", "KA-ENTITLEMENT", "KA-SIGNIN"):
        return failure
    then = f"put it into {KEY_VARIABLE}" if account_id == _ENVIRONMENT else "kiro-auth login --api-key"
    return Failure(
        code="KA-LOGIN",
        message="Kiro does not accept the key: it is revoked or mistyped, or the plan has no API keys.",
        next_step=f"Make a new one at https://app.kiro.dev, then: {then}",
        request_id=failure.request_id,
    )
