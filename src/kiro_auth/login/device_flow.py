"""Sign in by device code: a person confirms a code in any browser, anywhere; no port, no display needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct, structs

from kiro_auth.accounts.account import Account
from kiro_auth.accounts.registry import SignedIn, admit
from kiro_auth.addresses import partition_of
from kiro_auth.config import Config
from kiro_auth.failures import Failure, KiroAuthError, SignInFailed, TurnFailed, WrongValue
from kiro_auth.kinds import BUILDER_ID_REGION, BUILDER_ID_START_URL, KINDS, Kind
from kiro_auth.kiro.edge.client import Credentials, KiroClient
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens import aws_oidc
from kiro_auth.kiro.tokens.aws_oidc import Registration
from kiro_auth.kiro.tokens.grants import TokenGrant
from kiro_auth.login.confirmation import OnTrouble, Pace, Started, confirmed
from kiro_auth.login.profiles import SECONDS, Profile, discover, identity_of
from kiro_auth.login.regions import called, read_region, unknown_region
from kiro_auth.login.start_url import StartUrl, clean_start_url, read_start_url
from kiro_auth.store.protocol import Record, Store

LIKELY_REGIONS: Final = (
    "us-east-1", "us-west-2", "us-east-2", "eu-west-1", "eu-central-1", "eu-north-1", "eu-west-2",
    "ap-southeast-2", "ap-northeast-1", "us-gov-west-1", "us-gov-east-1",
)  # fmt: skip
"""Where a start URL is looked for when it is unknown in the region that was named, which it does not tell: a
choice of ours.  Only those in the same partition of AWS are asked."""
REUSED_SECONDS: Final = 80 * 86400
"""How long a registration must still last to serve for another sign-in; a new one lasts about 90 days,
as one client saw it (2026; `clientSecretExpiresAt` counts)."""
Choose = Callable[[Sequence[Profile]], Profile]


class Prompt(Struct, frozen=True):
    """What to show: the page, the code it asks for, until when (epoch seconds), and what else to say."""

    url: str
    code: str
    expires_at: float
    notice: str | None = None


class DeviceSignIn:
    """One sign-in: `start`, show the prompt, `finish`.

    `choose` picks one of several profiles (it may block; it runs in a thread); without it the first is
    used.  `notices` says after `finish` what the person should know.
    """

    def __init__(
        self,
        lines: Lines,
        endpoints: Endpoints,
        store: Store,
        config: Config,
        *,
        choose: Choose | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lines = lines
        self._endpoints = endpoints
        self._store = store
        self._config = config
        self._choose = choose
        self._pace = Pace(sleep, monotonic, clock)
        self._clock = clock
        self._client = KiroClient(lines, endpoints, timeout=SECONDS)
        self._registrations: dict[str, Registration] = {}
        self._started: Started | None = None
        self.notices: list[str] = []

    async def start(
        self, kind: str = "builder-id", start_url: str | None = None, region: str | None = None
    ) -> Prompt:
        """Ask the service for a code.  Kind `idc` needs a start URL, here or in the configuration.

        `region` is that of the organisation's Identity Center.  Raises SignInFailed.
        """
        wanted, place = self._wanted(kind, start_url, region)
        try:
            self._started, notice = await self._authorize(wanted.kind, wanted.url, place)
        except SignInFailed:
            raise
        except KiroAuthError as error:
            raise SignInFailed(_in_region(place, error.failure)) from error
        device = self._started.device
        notices = " ".join(filter(None, (wanted.notice, notice)))
        return Prompt(device.url, device.user_code, self._clock() + device.expires_in, notices or None)

    async def finish(self, on_trouble: OnTrouble = lambda _: None) -> Account:
        """Wait until the code is confirmed, then store the account.  Raises SignInFailed."""
        if self._started is None:
            raise SignInFailed(Failure(code="KA-LOGIN", message="The sign-in was not started."))
        try:
            grant = await confirmed(self._lines, self._endpoints, self._started, self._pace, on_trouble)
            signed_in = await self._learn(self._started, grant)
            admitted = await admit(self._store, signed_in, self._clock())
            return admitted.account
        except SignInFailed:
            raise
        except KiroAuthError as error:
            raise SignInFailed(error.failure) from error

    # ---------------------------------------------------------------------------------------- start

    def _wanted(self, kind: str, start_url: str | None, region: str | None) -> tuple[StartUrl, str]:
        """Where to sign in, and in which region."""
        if kind == "builder-id":
            return StartUrl("builder-id", BUILDER_ID_START_URL), BUILDER_ID_REGION
        if kind != "idc":
            raise SignInFailed(
                Failure(
                    code="KA-LOGIN",
                    message=f"There is no sign-in of kind {kind!r}.",
                    next_step="Use builder-id, or idc for your organisation.",
                )
            )
        url = start_url or self._config.sso_start_url
        if not url:
            raise SignInFailed(
                Failure(
                    code="KA-LOGIN",
                    message="The start URL of your organisation is not known.",
                    next_step="kiro-auth login --start-url https://….awsapps.com/start --region <region of "
                    "your IAM Identity Center>, or set sso_start_url and sso_region in kiro.json.",
                )
            )
        wanted = read_start_url(url)
        if wanted.kind == "builder-id":
            return wanted, BUILDER_ID_REGION
        typed = (region or self._config.sso_region or self._config.default_region).strip()
        place = read_region(typed)
        of_region = None if place == typed else f"The region is taken as {called(place)}."
        notice = " ".join(filter(None, (wanted.notice, of_region)))
        return structs.replace(wanted, notice=notice or None), place

    async def _authorize(self, kind: Kind, start_url: str, region: str) -> tuple[Started, str | None]:
        """A code, and what to say: the start URL is tried as given, without what browsers add to it, and
        then in the regions where organisations mostly are: nothing in it tells where it is known.
        """
        cleaned = clean_start_url(start_url)
        tries = [(start_url, region), (cleaned, region)][: 1 if cleaned == start_url else 2]
        if KINDS[kind].has_start_url:
            own = partition_of(region)
            others = (other for other in LIKELY_REGIONS if other != region and partition_of(other) == own)
            tries += [(cleaned, other) for other in others]
        refused: TurnFailed | None = None
        for url, place in tries:
            try:
                started = await self._ask(kind, url, place)
            except TurnFailed as error:
                if refused is None and error.failure.reason != "invalid_request":
                    raise  # not about the start URL
                refused = refused or error
            else:
                return started, _notice(started, start_url, region)
        assert refused is not None
        raise WrongValue(_unknown_start_url(start_url, region, refused.failure)) from refused

    async def _ask(self, kind: Kind, start_url: str, region: str) -> Started:
        try:
            return await self._ask_as(await self._registration(region), kind, start_url, region)
        except TurnFailed as error:
            if error.failure.reason != "invalid_client":
                raise
            self._registrations[region] = await aws_oidc.register(self._lines, self._endpoints, region=region)
            return await self._ask_as(self._registrations[region], kind, start_url, region)

    async def _ask_as(self, registration: Registration, kind: Kind, start_url: str, region: str) -> Started:
        device = await aws_oidc.start_device_authorization(
            self._lines, self._endpoints, region=region, registration=registration, start_url=start_url
        )
        return Started(kind, start_url, region, registration, device)

    async def _registration(self, region: str) -> Registration:
        if region not in self._registrations:
            registered = known_registration(self._store.snapshot().accounts, region, self._clock())
            made = registered or await aws_oidc.register(self._lines, self._endpoints, region=region)
            self._registrations[region] = made
        return self._registrations[region]

    # --------------------------------------------------------------------------------------- finish

    async def _learn(self, started: Started, grant: TokenGrant) -> SignedIn:
        """What else there is to know of the account; nothing here may lose the sign-in."""
        received = self._clock()
        profile, no_profile = None, None
        if KINDS[started.kind].needs_profile:
            profile, no_profile = await self._profile(started, grant)
        usage = None if no_profile else await self._usage(started, grant, profile)
        identity = identity_of(usage or {})
        return SignedIn(
            kind=started.kind,
            start_url=started.start_url,
            region=started.region,
            client_id=started.registration.client_id,
            client_secret=started.registration.client_secret,
            client_secret_expires_at=started.registration.expires_at,
            access_token=grant.access_token,
            refresh_token=grant.refresh_token,
            expires_at=received + grant.expires_in,
            profile_arn=profile.arn if profile else None,
            profile_region=profile.region if profile else None,
            profile_name=profile.name if profile else None,
            no_profile=no_profile,
            user_id=identity.user_id,
            real_email=identity.email,
            plan=identity.plan,
            usage=usage,
        )

    async def _usage(
        self, started: Started, grant: TokenGrant, profile: Profile | None
    ) -> dict[str, Any] | None:
        """What Kiro says of plan and usage, where the account is served; None when it does not say."""
        place = Credentials(
            kind=started.kind,
            token=grant.access_token,
            region=profile.region if profile else started.region,
            profile_arn=profile.arn if profile else None,
        )
        try:
            return await self._client.usage_limits(place)
        except KiroAuthError as error:
            self.notices.append(f"Plan and usage are not known yet: {error.failure.heading}")
            return None

    async def _profile(self, started: Started, grant: TokenGrant) -> tuple[Profile | None, str | None]:
        discovery = await discover(
            self._client, kind=started.kind, token=grant.access_token, auth_region=started.region
        )
        if not discovery.profiles:
            why = discovery.failure()
            self.notices.append(f"The account is signed in but cannot be used yet: {why.sentence()}")
            return None, why.message
        for profile in discovery.profiles:
            if profile.arn == self._config.sso_profile_arn:
                return profile, None
        if self._config.sso_profile_arn:
            self.notices.append(
                f"sso_profile_arn names a profile that you were not given: {self._config.sso_profile_arn}"
            )
        if len(discovery.profiles) == 1:
            return discovery.profiles[0], None
        if self._choose is not None:
            return await asyncio.to_thread(self._choose, discovery.profiles), None
        first = discovery.profiles[0]
        self.notices.append(
            f"{len(discovery.profiles)} Kiro profiles are assigned; {first.name} in {first.region} is used. "
            "Another one: sso_profile_arn in kiro.json, or kiro-auth login in a terminal, which asks."
        )
        return first, None


def known_registration(records: Iterable[Record], region: str, now: float) -> Registration | None:
    """One of this region that an account holds, if it is new: a sign-in ends with its registration."""
    for record in records:
        match record:
            case {
                "region": str(place),
                "clientId": str(client_id),
                "clientSecret": str(secret),
                "clientSecretExpiresAt": int(ends) | float(ends),
            } if secret and place == region and ends / 1000 - now >= REUSED_SECONDS:
                return Registration(client_id, secret, ends / 1000)
    return None


def _notice(started: Started, start_url: str, region: str) -> str | None:
    """What to say of a start URL that was not known as it was given."""
    if started.region != region:
        return f"The start URL is known in {started.region}, not in {region}: that is its region."
    if started.start_url != start_url:
        return f"The start URL was refused as given; {started.start_url} is used instead."
    return None


def _unknown_start_url(start_url: str, region: str, refused: Failure) -> Failure:
    return Failure(
        code="KA-LOGIN",
        message=f"The start URL {start_url} is unknown in region {region}, and in the likely others.",
        next_step=unknown_region(region)
        or "Check both; --region is the region of your IAM Identity Center, not of Kiro.",
        reason=refused.reason,
        request_id=refused.request_id,
    )


def _in_region(region: str, failure: Failure) -> Failure:
    """What failed there, and that no such region is known, where that is so."""
    unknown = unknown_region(region)
    return structs.replace(failure, next_step=unknown) if unknown else failure
