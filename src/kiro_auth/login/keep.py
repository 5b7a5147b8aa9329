"""Store what a sign-in brought: as a new account, or as the new tokens of one that is there already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from kiro_auth.accounts.account import Account, account_of, new_id
from kiro_auth.accounts.health import ready_after
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.failures import StoreFailed
from kiro_auth.kinds import BUILDER_ID_START_URL, KINDS, Kind
from kiro_auth.kiro.tokens.aws_oidc import Registration
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.login.profiles import Identity, Profile
from kiro_auth.store.store import Record, Store

_LOCK_SECONDS: Final = 15.0


class SignedIn(Struct, frozen=True):
    """A completed sign-in.  `received` is when the tokens came (epoch seconds).

    `no_profile` says why the account has no profile although its kind needs one; `usage` is the service's
    answer, if there was one.
    """

    kind: Kind
    start_url: str
    region: str
    registration: Registration
    grant: TokenGrant
    received: float
    profile: Profile | None
    no_profile: str | None
    identity: Identity
    usage: Mapping[str, Any] | None


def keep(store: Store, signed_in: SignedIn) -> Account:
    """Store the account and return it as it stands then.  Raises StoreFailed.

    The same person at the same place (kind, start URL, user id) has one account, however often they sign
    in; anybody else gets another.
    """
    account = _kept(store, signed_in)
    if signed_in.usage is not None:
        store.change_usage(account.id, usage_row(signed_in.usage, signed_in.received))
    return account


def _kept(store: Store, signed_in: SignedIn) -> Account:
    with store.lock("sign-in", timeout=_LOCK_SECONDS):  # labels are unique
        records = store.accounts()
        known = _known(records, signed_in)
        record = _renew(store, known, signed_in) if known else None
        if record is None:
            record = _new_record(signed_in, [str(r.get("label")) for r in records])
            store.add_account(record)
        return account_of(record)


def _renew(store: Store, known: Record, signed_in: SignedIn) -> Record | None:
    """The account with its new tokens; None when it was removed meanwhile."""
    account_id = str(known["id"])
    with store.lock(f"refresh-{account_id}", timeout=_LOCK_SECONDS):  # no refresh of the old tokens now
        return store.change_account(account_id, _renewed(signed_in, known))


def _known(records: Iterable[Record], signed_in: SignedIn) -> Record | None:
    """The record of this person at this place: the one with the same user id, else the same e-mail.

    Accounts of the original have no user id; its `realEmail` came from the service, unlike its `email`.
    """
    user_id, email = signed_in.identity.user_id, signed_in.identity.email
    here = [(record, found) for record in records if (found := _account_at(record, signed_in))]
    same_id = (record for record, found in here if user_id and found.extra.get("userId") == user_id)
    same_email = (
        record
        for record, found in here
        if email and found.real_email == email and found.extra.get("userId") is None
    )
    return next(chain(same_id, same_email), None)


def _account_at(record: Record, signed_in: SignedIn) -> Account | None:
    """The account, if it signs in at the same place in the same way."""
    try:
        account = account_of(record)
    except StoreFailed:
        return None  # a damaged record is nobody's account
    start_url = account.sso_start_url or BUILDER_ID_START_URL
    same = account.kind == signed_in.kind and _bare(start_url) == _bare(signed_in.start_url)
    return account if same else None


def _bare(url: str) -> str:
    return url.split("#")[0].rstrip("/").lower()


def _new_record(signed_in: SignedIn, labels: Iterable[str]) -> Record:
    record: Record = {
        "id": new_id(),
        "email": KINDS[signed_in.kind].placeholder,
        "authMethod": KINDS[signed_in.kind].stored[0],
        "label": _label(signed_in, frozenset(labels)),
        "generation": 0,
        **_tokens(signed_in),
        **_knowledge(signed_in),
        **_standing(signed_in, None),
        "kiroAuth": _extra(signed_in),
    }
    if KINDS[signed_in.kind].has_start_url:
        record["ssoStartUrl"] = signed_in.start_url
    return {name: value for name, value in record.items() if value is not None}


def _renewed(signed_in: SignedIn, known: Record) -> Record:
    """The fields of an existing account that a new sign-in changes."""
    extra = known.get("kiroAuth")
    return {
        **_tokens(signed_in),
        **{name: value for name, value in _knowledge(signed_in).items() if value is not None},
        **_standing(signed_in, known.get("state")),
        "generation": int(known.get("generation") or 0) + 1,
        "kiroAuth": {**(extra if isinstance(extra, dict) else {}), **_extra(signed_in)},
    }


def _tokens(signed_in: SignedIn) -> Record:
    grant, registration = signed_in.grant, signed_in.registration
    expires = registration.expires_at
    return {
        "region": signed_in.region,
        "clientId": registration.client_id,
        "clientSecret": registration.client_secret,
        "clientSecretExpiresAt": expires * 1000 if expires else None,
        "accessToken": grant.access_token,
        "refreshToken": grant.refresh_token,
        "expiresAt": round((signed_in.received + grant.expires_in) * 1000),
    }


def _knowledge(signed_in: SignedIn) -> Record:
    profile, identity = signed_in.profile, signed_in.identity
    known: Record = {
        "profileArn": profile.arn if profile else None,
        "profileRegion": profile.region if profile else None,
        "profileName": profile.name if profile else None,
        "realEmail": identity.email,
    }
    if identity.email:
        known["email"] = identity.email
    return known


def _standing(signed_in: SignedIn, state: str | None) -> Record:
    return ready_after("signed in", state, signed_in.received, reason=signed_in.no_profile) or {}


def _extra(signed_in: SignedIn) -> dict[str, Any]:
    identity = signed_in.identity
    extra = {"userId": identity.user_id, "plan": identity.plan}
    return {name: value for name, value in extra.items() if value is not None}


def _label(signed_in: SignedIn, taken: frozenset[str]) -> str:
    """A name for people, without e-mail: `Builder ID 1`, `d-1234567890 (eu-central-1)`."""
    if signed_in.kind == "builder-id":
        number = 1
        while f"Builder ID {number}" in taken:
            number += 1
        return f"Builder ID {number}"
    region = signed_in.profile.region if signed_in.profile else signed_in.region
    base = f"{_organisation(signed_in.start_url)} ({region})"
    label, number = base, 2
    while label in taken:
        label, number = f"{base} {number}", number + 1
    return label


def _organisation(start_url: str) -> str:
    """What tells one organisation's start URL from another's."""
    parts = urlsplit(start_url)
    host = parts.hostname or "organisation"
    if host.endswith(".awsapps.com"):
        return host.removesuffix(".awsapps.com")
    last = parts.path.strip("/").split("/")[-1]
    return last if last.startswith("ssoins-") else host
