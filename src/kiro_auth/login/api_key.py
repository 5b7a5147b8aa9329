"""An account of a Kiro API key (`ksk_…`): nothing is refreshed, the key itself is the token."""

from __future__ import annotations

import time
from typing import Final

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.registry import SignedIn, admit
from kiro_auth.failures import ConfigFailed, Failure, SignInFailed, TurnFailed, WrongValue
from kiro_auth.kinds import KINDS
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.login.profiles import PROFILE_REGIONS, identity_of
from kiro_auth.login.regions import called, read_region
from kiro_auth.options import KEY_VARIABLE
from kiro_auth.store.protocol import Record, Store

PREFIX: Final = "ksk_"
_ENVIRONMENT: Final = "environment"
_REGIONS: Final = PROFILE_REGIONS["aws"]


def checked(key: str) -> str:
    """A key as a person pastes it, without the white space around it.  Raises WrongValue."""
    key = key.strip()
    if not _has_form(key):
        raise WrongValue(
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
        "region": _REGIONS[0],
    }


async def sign_in(client: KiroClient, store: Store, key: str, region: str | None = None) -> Account:
    """Ask the service whether the key works, in `region` or where keys are served, and store the account.

    The same person's other key replaces the one that is stored.  Raises SignInFailed, StoreFailed; of the
    former WrongValue when the key is at fault.
    """
    key = checked(key)
    region = read_region(region) if region is not None else None
    refused: TurnFailed | None = None
    for place in [region] if region else _REGIONS:
        try:
            usage = await client.usage_limits(Credentials(kind="api-key", token=key, region=place))
        except TurnFailed as error:
            refused = refused or error
        else:
            identity = identity_of(usage)
            signed_in = SignedIn(
                kind="api-key",
                region=place,
                access_token=key,
                profile_region=place,
                user_id=identity.user_id,
                real_email=identity.email,
                plan=identity.plan,
                usage=usage,
            )
            return (await admit(store, signed_in, time.time())).account
    assert refused is not None
    if region and region not in _REGIONS:
        raise SignInFailed(_elsewhere(region, refused.failure)) from refused
    failure = rejected(refused.failure)
    wrong = failure.code == "KA-LOGIN"
    raise (WrongValue(failure) if wrong else SignInFailed(failure)) from refused


def _elsewhere(region: str, failure: Failure) -> Failure:
    """What failed in a region where Kiro is not known to take keys."""
    known = " and ".join(map(called, _REGIONS))
    return Failure(
        code="KA-LOGIN",
        message=f"The key does not work in {called(region)}, where Kiro is not known to take keys.",
        next_step=f"Leave out --region: the key is tried in {known}.",
        request_id=failure.request_id,
    )


def of_key(failure: Failure, account: Account) -> Failure:
    """The failure in the words for keys, where the account is one and Kiro refuses the key itself."""
    passes = (failure.until or failure.next_try) is not None
    refused = KINDS[account.kind].renewed_by is None and not passes
    return rejected(failure, account.id) if refused else failure


def rejected(failure: Failure, account_id: str | None = None) -> Failure:
    """What a refusal means for a key, which is never refreshed; other failures as they are."""
    if failure.code not in ("KA-TOKEN", "KA-ENTITLEMENT", "KA-SIGNIN"):
        return failure
    then = (
        f"put it into {KEY_VARIABLE}" if account_id == _ENVIRONMENT else "store it: kiro-auth login --api-key"
    )
    return Failure(
        code="KA-LOGIN",
        message="Kiro does not accept the API key: it was revoked or mistyped, or the plan has no API keys.",
        next_step=f"Make a new one at https://app.kiro.dev, then {then}",
        request_id=failure.request_id,
    )
