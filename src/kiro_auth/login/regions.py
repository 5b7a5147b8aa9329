"""The regions of AWS by the names that people have for them, and what a person means who types one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from kiro_auth.addresses import REGION
from kiro_auth.failures import Failure, WrongValue

REGIONS: Final[Mapping[str, str]] = {
    "us-east-1": "N. Virginia", "us-east-2": "Ohio", "us-west-1": "N. California", "us-west-2": "Oregon",
    "af-south-1": "Cape Town", "ap-east-1": "Hong Kong", "ap-east-2": "Taipei", "ap-south-1": "Mumbai",
    "ap-south-2": "Hyderabad", "ap-southeast-1": "Singapore", "ap-southeast-2": "Sydney",
    "ap-southeast-3": "Jakarta", "ap-southeast-4": "Melbourne", "ap-southeast-5": "Malaysia",
    "ap-southeast-6": "New Zealand", "ap-southeast-7": "Thailand", "ap-northeast-1": "Tokyo",
    "ap-northeast-2": "Seoul", "ap-northeast-3": "Osaka", "ca-central-1": "Canada", "ca-west-1": "Calgary",
    "eu-central-1": "Frankfurt", "eu-central-2": "Zurich", "eu-west-1": "Ireland", "eu-west-2": "London",
    "eu-west-3": "Paris", "eu-north-1": "Stockholm", "eu-south-1": "Milan", "eu-south-2": "Spain",
    "il-central-1": "Tel Aviv", "me-central-1": "UAE", "me-south-1": "Bahrain", "mx-central-1": "Mexico",
    "sa-east-1": "São Paulo", "us-gov-west-1": "GovCloud, US-West", "us-gov-east-1": "GovCloud, US-East",
    "cn-north-1": "Beijing", "cn-northwest-1": "Ningxia", "eusc-de-east-1": "Brandenburg",
}  # fmt: skip
"""What AWS calls its regions, 2026.  New ones come every year, so one that is not here may exist."""
_EXAMPLE: Final = "us-east-1"


def read_region(text: str) -> str:
    """The region that a person means by its id or its name, however it is written.

    An id that has the form of one is not refused because it is unknown here.  Raises WrongValue.
    """
    region = re.sub(r"[\s_]+", "-", text.strip().lower())
    if re.fullmatch(REGION, region):
        return region
    places = [known for known, place in REGIONS.items() if place.lower() in text.lower()]
    if len(places) == 1:
        return places[0]
    raise WrongValue(not_a_region(text.strip()))


def not_a_region(text: str) -> Failure:
    """What there is to say of a region that does not exist: which are written like it."""
    return Failure(
        code="KA-CONFIG",
        message=f"{text!r} is not an AWS region.",
        next_step=_close(text),
    )


def unknown_region(region: str) -> str | None:
    """What to add to a failure in a region that this program does not know; None for one that it knows."""
    if region in REGIONS:
        return None
    return f"{region} is no region that this program knows. {_close(region)}"


def called(region: str) -> str:
    """The id with its place: `eu-central-1 (Frankfurt)`."""
    place = REGIONS.get(region)
    return f"{region} ({place})" if place else region


def _close(text: str) -> str:
    import difflib  # for misspelt ones alone

    near = difflib.get_close_matches(text.lower(), REGIONS, n=3, cutoff=0.7)
    if not near:
        return f"Name one such as {called(_EXAMPLE)}."
    return f"Did you mean {' or '.join(map(called, near))}?"
