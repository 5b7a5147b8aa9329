"""The Kiro profile of an account that needs one and has none: looked up before the account is used, and kept.

An administrator may assign it long after the sign-in.  Until then nothing is sent: without a profile Kiro
refuses every turn of such an account, in words that help nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import msgspec
from msgspec.structs import replace

from kiro_auth.accounts import health
from kiro_auth.accounts.account import UNSURE, Account, account_of, read_again
from kiro_auth.config import Config
from kiro_auth.failures import Failure, StoreFailed, TurnFailed
from kiro_auth.kinds import KINDS, Kind
from kiro_auth.kiro.edge.client import KiroClient
from kiro_auth.login.profiles import Discovery, Profile, discover
from kiro_auth.store.protocol import Record, Store

log = logging.getLogger("kiro_auth.assignment")

AGAIN: Final = 60.0
"""Seconds for which that no profile is assigned is taken as true; a choice of ours."""


class Assignments:
    """Looks up the profiles of one store's accounts.  `clock` gives epoch seconds."""

    def __init__(self, store: Store, client: KiroClient, config: Config, clock: Callable[[], float]) -> None:
        self._store = store
        self._client = client
        self._config = config
        self._clock = clock
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._failed: dict[str, tuple[float, Failure]] = {}  # the last time, by account id
        self._of_several: dict[str, str] = {}

    @staticmethod
    def is_open(account: Account) -> bool:
        """Whether Kiro has to be asked for the account's profile, or its kind, before it can be used."""
        return account.kind_unsure or (KINDS[account.kind].needs_profile and not account.profile_arn)

    def notice(self, account_id: str) -> str | None:
        """What to tell the owner of an account that was given one of several profiles."""
        return self._of_several.get(account_id)

    async def with_profile(self, account: Account) -> Account:
        """The account, with its profile if it needs one; its token must be fresh.

        Requests that come together ask once, and so do those within a minute when there is none.  Raises
        TurnFailed: KA-PROFILE when no region has a profile for it, something passing when a region could not
        be asked.
        """
        if not self.is_open(account):
            return account
        before = self._failed.get(account.id)
        async with self._asking[account.id]:
            current = self._current(account)
            if not self.is_open(current):
                return current
            last = self._failed.get(account.id)
            if last is not None and self._counts(*last, meanwhile=last is not before):
                raise TurnFailed(last[1])
            try:
                return await self._looked_up(current)
            except TurnFailed as error:
                self._failed[account.id] = self._clock(), error.failure
                raise

    def _counts(self, when: float, failure: Failure, *, meanwhile: bool) -> bool:
        """Whether a failure answers a request too; `meanwhile`: it came while the request waited for it."""
        if failure.code == "KA-PROFILE":
            return self._clock() - when < AGAIN
        return meanwhile and failure.code != "KA-TOKEN"  # the token in hand may be another one

    def _current(self, account: Account) -> Account:
        """The account as it is stored by now, with the token that it was given."""
        record = self._store.snapshot().record(account.id)
        if record is None:
            return account
        return replace(
            read_again(account, record),
            access_token=account.access_token,
            refresh_token=account.refresh_token,
            expires_at=account.expires_at,
            generation=account.generation,
        )

    async def _looked_up(self, account: Account) -> Account:
        discovery = await discover(
            self._client,
            kind=account.kind,
            token=account.access_token or "",
            auth_region=account.region,
            proxy=account.proxy,
        )
        kind = _kind(account, discovery)
        fields = self._as_kind(account, kind)
        if KINDS[kind].needs_profile and not discovery.profiles:
            await self._refuse(account, discovery.failure(), fields)
        if KINDS[kind].needs_profile:
            fields |= self._profile(account, discovery.profiles)
        if account.state_code == "KA-PROFILE" or account.state == "ready":
            fields |= health.ready_after("verified", account.state, self._clock()) or {}
        return await self._kept(account, fields)

    async def _refuse(self, account: Account, failure: Failure, as_kind: Record) -> NoReturn:
        """No profile is known: the kind is kept, as the best guess there is."""
        if failure.code == "KA-PROFILE":
            account = await self._kept(account, {**as_kind, "kiroAuth": account.extra})
        raise TurnFailed(replace(failure, account=account.name))

    def _profile(self, account: Account, profiles: Sequence[Profile]) -> Record:
        """The fields of the profile to use: the user's choice, else the one it had, else the first."""
        by_arn = {profile.arn: profile for profile in profiles}
        wanted = (arn for arn in (self._config.sso_profile_arn, account.profile_arn) if arn in by_arn)
        profile = by_arn[next(wanted, profiles[0].arn)]
        if len(profiles) > 1:
            name = profile.name or profile.arn
            notice = f"{len(profiles)} Kiro profiles are assigned; {name} is used"
            self._of_several[account.id] = notice
            log.warning("%s: %s", account.name, notice)
        return {"profileArn": profile.arn, "profileRegion": profile.region, "profileName": profile.name}

    def _as_kind(self, account: Account, kind: Kind) -> dict[str, object]:
        """The fields of an account whose kind is certain by now."""
        if not account.kind_unsure:
            return {}
        return {
            "authMethod": KINDS[kind].stored[0],
            "ssoStartUrl": account.sso_start_url if KINDS[kind].has_start_url else None,
            "profileArn": account.profile_arn if KINDS[kind].needs_profile else None,
            "kiroAuth": {name: value for name, value in account.extra.items() if name != UNSURE},
        }

    async def _kept(self, account: Account, fields: Record) -> Account:
        """The account with these fields, which are stored if that is possible."""
        try:
            await self._store.change(account.id, fields)
        except StoreFailed as error:
            log.warning("the profile of %s is not kept: %s", account.name, error)
        record = {**msgspec.to_builtins(account), **fields}
        return account_of({name: value for name, value in record.items() if value is not None})


def _kind(account: Account, discovery: Discovery) -> Kind:
    """The kind by what Kiro said: profiles are listed for organisations, and refused to Builder IDs.

    Raises TurnFailed when no region that could say it was reached.
    """
    if not account.kind_unsure:
        return account.kind
    if discovery.of_builder_id:
        return "builder-id"
    if len(discovery.failures) < len(discovery.asked):
        return "idc"
    failure = discovery.failure()
    if failure.code != "KA-PROFILE":
        raise TurnFailed(replace(failure, account=account.name))
    return account.kind
