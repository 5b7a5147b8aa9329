"""Find the Kiro profile that an organisation gave its member, and ask the service who a sign-in is.

The profile decides where an account is served; its region has nothing to do with the region of the
organisation's IAM Identity Center.  An ARN comes from the service or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from kiro_auth.accounts.account import region_of
from kiro_auth.addresses import partition_of
from kiro_auth.failures import CATALOGUE, Failure, TurnFailed
from kiro_auth.json_values import as_object
from kiro_auth.kinds import Kind
from kiro_auth.kiro import checked
from kiro_auth.kiro.edge.client import Credentials, KiroClient

PROFILE_REGIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws": ("us-east-1", "eu-central-1"),
    "aws-us-gov": ("us-gov-west-1", "us-gov-east-1"),
}
"""Where Kiro profiles exist, by the partition of AWS."""
SECONDS: Final = 10.0
"""How long one region may take to answer."""

_NO_ORGANISATION: Final = "builder id is not supported"
"""What Kiro says, among other words, when profiles are to be listed for a Builder ID."""
_REFUSALS: Final = frozenset({"KA-TOKEN", "KA-ENTITLEMENT", "KA-PROFILE", "KA-BODY"})
"""Answers of a region that has no profile for this sign-in."""
_UNUSABLE: Final = frozenset({"CREATING", "CREATE_FAILED", "DELETING"})


class Profile(Struct, frozen=True):
    """One profile: its ARN, the name its administrator gave it, the region that serves it."""

    arn: str
    name: str
    region: str


class Discovery(Struct, frozen=True):
    """What the regions answered.  `failures` are those of regions that did not list anything."""

    profiles: tuple[Profile, ...]
    asked: tuple[str, ...]
    failures: tuple[Failure, ...]

    @property
    def of_builder_id(self) -> bool:
        """Whether Kiro refused because the sign-in is one with AWS Builder ID."""
        return any(_NO_ORGANISATION in failure.message.lower() for failure in self.failures)

    def failure(self) -> Failure:
        """Why there is no profile to use.

        That none is assigned (KA-PROFILE), unless a region that could not be asked may have one.  A region
        may refuse a token that is good in another; only when all refuse it, it is the token that is bad.
        """
        where = ", ".join(self.asked)
        rejected = [failure for failure in self.failures if failure.code == "KA-TOKEN"]
        if rejected and len(rejected) == len(self.asked):
            return rejected[0]
        for failure in self.failures:
            if failure.code not in _REFUSALS:
                message = f"The Kiro profiles could not be listed ({where}): {failure.message}"
                return replace(failure, message=message)
        asked = f"{where} were asked" if where else "Kiro has none in this partition of AWS"
        return Failure(
            code="KA-PROFILE",
            message=f"No Kiro profile assigned ({asked}).",
            next_step=CATALOGUE["KA-PROFILE"].remedy,
        )


class Identity(Struct, frozen=True):
    """Who a sign-in is, as far as the service says."""

    user_id: str | None = None
    email: str | None = None
    plan: str | None = None


async def discover(
    client: KiroClient, *, kind: Kind, token: str, auth_region: str, proxy: str | None = None
) -> Discovery:
    """All profiles this sign-in may use.  A region that fails does not stop the others.

    An organisation in Europe is asked about in Europe first, and elsewhere only when it has no profile
    there: its members' tokens have no business on other continents.  Nothing is asked outside the partition
    of AWS in which it signs in.
    """
    profiles: list[Profile] = []
    failures: list[Failure] = []
    asked: list[str] = []
    for group in _groups(auth_region):
        places = (Credentials(kind=kind, token=token, region=region, proxy=proxy) for region in group)
        answers = await asyncio.gather(*(_list(client, place) for place in places))
        asked += group
        for answer in answers:
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                profiles += [profile for profile in answer if profile not in profiles]
        if profiles:
            break
    return Discovery(tuple(profiles), tuple(asked), tuple(failures))


def _groups(auth_region: str) -> list[Sequence[str]]:
    regions = PROFILE_REGIONS.get(partition_of(auth_region), ())
    near = [r for r in regions if auth_region.startswith("eu-") and r.startswith("eu-")]
    far = [r for r in regions if r not in near]
    return [group for group in (near, far) if group]


async def _list(client: KiroClient, place: Credentials) -> list[Profile] | Failure:
    try:
        async with asyncio.timeout(SECONDS):
            rows = await client.list_profiles(place)
    except TurnFailed as error:
        return error.failure
    except TimeoutError:
        return Failure(code="KA-TIMEOUT", message=f"Kiro did not answer in {place.region}.")
    return profiles_in(rows, place.region)


def profiles_in(rows: Iterable[Mapping[str, Any]], region: str) -> list[Profile]:
    """The profiles to use of those that were listed in this region; none of another partition of AWS."""
    usable = (row for row in rows if checked.code(row.get("status")) not in _UNUSABLE)
    listed = (_profile(row, region) for row in usable)
    partition = partition_of(region)
    return [profile for profile in listed if profile and partition_of(profile.region) == partition]


def _profile(row: Mapping[str, Any], region: str) -> Profile | None:
    arn = checked.identifier(row.get("arn"))
    if arn is None:
        return None
    return Profile(arn, checked.text(row.get("profileName")) or "", region_of(arn) or region)


def identity_of(usage: dict[str, Any]) -> Identity:
    """Who a usage answer is about."""
    user, plan = as_object(usage.get("userInfo")), as_object(usage.get("subscriptionInfo"))
    return Identity(
        user_id=checked.identifier(user.get("userId")),
        email=checked.identifier(user.get("email")),
        plan=checked.first(checked.text, plan, "subscriptionTitle", "type"),
    )
