"""Find the Kiro profile that an organisation gave its member, and ask the service who a sign-in is.

The profile decides where an account is served; its region has nothing to do with the region of the
organisation's IAM Identity Center.  An ARN comes from the service or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.account import region_of
from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.json_values import as_object, as_text, first_text
from kiro_auth.kinds import Kind
from kiro_auth.kiro.edge.client import Credentials, KiroClient

PROFILE_REGIONS: Final = ("us-east-1", "eu-central-1")
"""Where Kiro profiles exist."""
SECONDS: Final = 10.0
"""How long one region may take to answer."""

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

    def why_none(self) -> str:
        """Why there is no profile to use, in one sentence for the account's state."""
        where = ", ".join(self.asked)
        for failure in self.failures:
            if failure.entry.passing:  # the profile may be in the region that could not be asked
                return f"its Kiro profiles could not be listed ({where}): {failure.message}"
        return f"no Kiro profile assigned ({where} were asked): ask your administrator"


class Identity(Struct, frozen=True):
    """Who a sign-in is, as far as the service says."""

    user_id: str | None = None
    email: str | None = None
    plan: str | None = None


async def discover(client: KiroClient, *, kind: Kind, token: str, auth_region: str) -> Discovery:
    """All profiles this sign-in may use.  A region that fails does not stop the others.

    An organisation in Europe is asked about in Europe first, and elsewhere only when it has no profile
    there: its members' tokens have no business on other continents.
    """
    profiles: list[Profile] = []
    failures: list[Failure] = []
    asked: list[str] = []
    for group in _groups(auth_region):
        answers = await asyncio.gather(*(_list(client, kind, token, region) for region in group))
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
    near = [r for r in PROFILE_REGIONS if auth_region.startswith("eu-") and r.startswith("eu-")]
    far = [r for r in PROFILE_REGIONS if r not in near]
    return [group for group in (near, far) if group]


async def _list(client: KiroClient, kind: Kind, token: str, region: str) -> list[Profile] | Failure:
    try:
        async with asyncio.timeout(SECONDS):
            rows = await client.list_profiles(Credentials(kind=kind, token=token, region=region))
    except TurnFailed as error:
        return error.failure
    except TimeoutError:
        return Failure(code="KA-TIMEOUT", message=f"Kiro did not answer in {region}.")
    return [
        Profile(
            arn=row["arn"], name=str(row.get("profileName") or ""), region=region_of(row["arn"]) or region
        )
        for row in rows
        if isinstance(row.get("arn"), str) and row.get("status") not in _UNUSABLE
    ]


def identity_of(usage: dict[str, Any]) -> Identity:
    """Who a usage answer is about."""
    user, plan = as_object(usage.get("userInfo")), as_object(usage.get("subscriptionInfo"))
    return Identity(
        user_id=as_text(user.get("userId")),
        email=as_text(user.get("email")),
        plan=first_text(plan, "subscriptionTitle", "type"),
    )
