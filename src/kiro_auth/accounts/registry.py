"""The one place where a sign-in becomes an account, or the new tokens of an account that is there already."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from kiro_auth.accounts.account import (
    IS_ID,
    SOURCE,
    UNSURE,
    Account,
    Source,
    account_of,
    new_id,
)
from kiro_auth.accounts.health import ready_after
from kiro_auth.accounts.roster import readable
from kiro_auth.accounts.usage_row import usage_row
from kiro_auth.json_values import as_object
from kiro_auth.kinds import BUILDER_ID_START_URL, KINDS, Kind, bare_start_url
from kiro_auth.store.protocol import Record, Store

WAIT_SECONDS: Final = 15.0
"""The longest wait for another process that admits an account, or renews it."""
LEASE_SECONDS: Final = 60.0
"""Longer than the changes of a sign-in last, with all their waiting."""

Change: TypeAlias = Literal["added", "updated", "unchanged"]


class SignedIn(Struct, frozen=True, kw_only=True):
    """A completed sign-in.  Times are epoch seconds; None is what is not known.

    One that has a `source` is another program's too, and was made at some earlier time.
    """

    kind: Kind
    region: str
    """Where it was made, and its tokens are renewed."""
    access_token: str
    kind_unsure: bool = False
    """Whether `kind` is a guess between Builder ID and an organisation, until Kiro is asked."""
    refresh_token: str | None = None
    expires_at: float | None = None
    start_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    client_secret_expires_at: float | None = None
    profile_arn: str | None = None
    profile_region: str | None = None
    profile_name: str | None = None
    no_profile: str | None = None
    """Why it has no profile although its kind needs one."""
    user_id: str | None = None
    real_email: str | None = None
    """The e-mail, as Kiro says it; `email` is what another program says, which is nobody's mark."""
    email: str | None = None
    plan: str | None = None
    usage: Mapping[str, Any] | None = None
    """Kiro's answer about its usage."""
    source: Source | None = None
    id: str | None = None
    """What the other program calls it."""
    provider: Mapping[str, str] | None = None
    record: Mapping[str, Any] | None = None
    """A record of this program from another machine: it is kept whole."""


class Admitted(Struct, frozen=True):
    """What became of a sign-in, and the account as it stands then."""

    change: Change
    account: Account


async def admit(store: Store, signed_in: SignedIn, now: float) -> Admitted:
    """Store a sign-in; `now` is epoch seconds.  Raises StoreFailed.

    The same person at the same place has one account, however often they sign in; anybody else gets another.
    Tokens of another program replace older ones only.
    """
    async with store.lease("sign-in", LEASE_SECONDS, wait=WAIT_SECONDS):  # one person, one account
        change, account = await _admitted(store, signed_in, now)
        among, _ = readable((await store.load()).accounts)
    if signed_in.usage is not None:
        await store.change_usage(account.id, usage_row(signed_in.usage, now))
    return Admitted(change, next((stored for stored in among if stored.id == account.id), account))


async def _admitted(store: Store, signed_in: SignedIn, now: float) -> tuple[Change, Account]:
    found = await store.load()
    accounts, _ = readable(found.accounts)  # a damaged record is nobody's account
    existing = _existing(accounts, signed_in)
    if existing is not None:
        fields = _changes(existing, signed_in, now)
        if not fields:
            return "unchanged", existing
        # No renewal of the old tokens meanwhile.
        async with store.lease(f"refresh-{existing.id}", LEASE_SECONDS, wait=WAIT_SECONDS):
            changed = await store.change(existing.id, fields)
        if changed is not None:
            return "updated", account_of(changed)
        found = await store.load()  # it was removed meanwhile
    taken = [*(record.get("id") for record in found.accounts), *found.unreadable]
    record = _new_record(signed_in, taken, now)
    account = account_of(record)
    await store.add(record)
    return "added", account


# ------------------------------------------------------------------------------- whose sign-in it is


def _existing(accounts: Sequence[Account], signed_in: SignedIn) -> Account | None:
    """The account of this sign-in: the same one, else the same person's, else what it was before it ended."""
    return next(
        chain(
            (account for account in accounts if _is_same(account, signed_in)),
            _of_the_same_person(accounts, signed_in),
            _ended(accounts, signed_in),
        ),
        None,
    )


def _is_same(account: Account, signed_in: SignedIn) -> bool:
    """Whether it comes from the same place, or has the same id, refresh token or key.

    Never for its profile or client, which several may share.
    """
    source = signed_in.source and msgspec.to_builtins(signed_in.source)
    never_renewed = account.kind == signed_in.kind and KINDS[account.kind].renewed_by is None
    return (
        (source is not None and account.extra.get(SOURCE) == source)
        or (bool(signed_in.refresh_token) and account.refresh_token == signed_in.refresh_token)
        or (never_renewed and account.access_token == signed_in.access_token)
        or account.id == signed_in.id
    )


def _of_the_same_person(accounts: Sequence[Account], signed_in: SignedIn) -> Iterator[Account]:
    """Who Kiro says has signed in here: the same user id, else the same e-mail.

    Accounts of the original have no user id; its `realEmail` came from the service, unlike its `email`.
    """
    user_id, email = signed_in.user_id, signed_in.real_email
    here = [account for account in accounts if _is_at_the_same_place(account, signed_in)]
    yield from (account for account in here if user_id and account.extra.get("userId") == user_id)
    for account in here:
        if email and account.real_email == email and account.extra.get("userId") is None:
            yield account


def _is_at_the_same_place(account: Account, signed_in: SignedIn) -> bool:
    urls = (account.sso_start_url, signed_in.start_url)
    places = {bare_start_url(url or BUILDER_ID_START_URL) for url in urls}
    return account.kind == signed_in.kind and len(places) == 1


def _ended(accounts: Sequence[Account], signed_in: SignedIn) -> Iterator[Account]:
    """The one account made with the same client whose sign-in has ended: this is what became of it."""
    if signed_in.source is None or not signed_in.source.linked or not signed_in.client_secret:
        return
    client = signed_in.client_id, signed_in.client_secret
    ended = [a for a in accounts if a.state == "sign-in" and (a.client_id, a.client_secret) == client]
    if len(ended) == 1:
        yield ended[0]


# --------------------------------------------------------------------------------- what is written


def _changes(existing: Account, signed_in: SignedIn, now: float) -> Record:
    """The fields of an account that a sign-in changes."""
    source = signed_in.source
    linking = source is not None and source.linked and existing.source is None
    is_newer = (_milliseconds(signed_in.expires_at) or 0) > existing.expires_at
    if source is not None and not is_newer:
        link = {"kiroAuth": {**existing.extra, SOURCE: msgspec.to_builtins(source)}} if linking else {}
        return {**_corrected(existing, signed_in), **link}
    # A sign-in of one's own belongs to no other program, so what the account was linked with is left alone.
    dropped = SOURCE if source is None else None
    extra = {name: value for name, value in existing.extra.items() if name != dropped}
    added = {name: value for name, value in _extra(signed_in).items() if name != SOURCE or linking}
    corrected = _corrected(existing, signed_in)
    keeps_profile = source is not None and existing.profile_arn is not None
    return {
        **_tokens(signed_in),
        **({} if keeps_profile else _knowledge(signed_in)),
        **corrected,
        **(ready_after("signed in", existing.state, now, reason=signed_in.no_profile) or {}),
        "generation": existing.generation + 1,
        "kiroAuth": {**extra, **added},
    }


def _corrected(existing: Account, signed_in: SignedIn) -> Record:
    """The fields to change where the other program holds a sign-in of another kind, or at another place.

    Somebody signed in anew there, or the kind was taken for another one; the profile goes with it.
    """
    if signed_in.source is None or not signed_in.source.linked or signed_in.kind_unsure:
        return {}
    kind = KINDS[signed_in.kind]
    start_url = signed_in.start_url if kind.has_start_url else None
    before = existing.sso_start_url or start_url or ""
    same_place = bare_start_url(before) == bare_start_url(start_url or before)
    if existing.kind == signed_in.kind and same_place:
        return {}
    return {
        "authMethod": kind.stored[0],
        "ssoStartUrl": start_url,
        "profileArn": signed_in.profile_arn,
        "profileRegion": signed_in.profile_region,
        "profileName": signed_in.profile_name,
    }


def _new_record(signed_in: SignedIn, ids: Collection[Any], now: float) -> Record:
    """`ids` are those of all accounts that there are."""
    row = KINDS[signed_in.kind]
    if signed_in.record is not None:
        return {**_moved(signed_in.record), "id": _own_id(signed_in.record.get("id"), ids)}
    record: Record = {
        "id": _own_id(signed_in.id, ids),
        "email": signed_in.email or row.placeholder,
        "authMethod": row.stored[0],
        "ssoStartUrl": signed_in.start_url if row.has_start_url else None,
        "generation": 0,
        **_tokens(signed_in),
        **_knowledge(signed_in),
        **(ready_after("signed in", None, now, reason=signed_in.no_profile) or {}),
        "kiroAuth": _extra(signed_in),
    }
    return _known_values(record)


def _own_id(id_: Any, ids: Collection[Any]) -> str:
    """The id that it has elsewhere, if that is one and free."""
    is_one = isinstance(id_, str) and IS_ID.fullmatch(id_) is not None
    return id_ if is_one and id_ not in ids else new_id()


def _moved(record: Mapping[str, Any]) -> Record:
    """A record of another machine; what it shared with a program there it shares no more."""
    extra = {name: value for name, value in as_object(record.get("kiroAuth")).items() if name != SOURCE}
    return {**record, "kiroAuth": extra}


def _tokens(signed_in: SignedIn) -> Record:
    return {
        "region": signed_in.region,
        "clientId": signed_in.client_id,
        "clientSecret": signed_in.client_secret,
        "clientSecretExpiresAt": _milliseconds(signed_in.client_secret_expires_at),
        "accessToken": signed_in.access_token,
        "refreshToken": signed_in.refresh_token,
        "expiresAt": _milliseconds(signed_in.expires_at),
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _knowledge(signed_in: SignedIn) -> Record:
    return _known_values(
        {
            "profileArn": signed_in.profile_arn,
            "profileRegion": signed_in.profile_region,
            "profileName": signed_in.profile_name,
            "realEmail": signed_in.real_email,
            "email": signed_in.real_email,
        }
    )


def _extra(signed_in: SignedIn) -> Record:
    return _known_values(
        {
            "userId": signed_in.user_id,
            "plan": signed_in.plan,
            SOURCE: signed_in.source and msgspec.to_builtins(signed_in.source),
            UNSURE: signed_in.kind_unsure or None,
            "provider": signed_in.provider,
        }
    )


def _known_values(record: Record) -> Record:
    return {name: value for name, value in record.items() if value is not None}
