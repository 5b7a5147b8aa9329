"""Whether a sign-in at AWS is an organisation's or one with AWS Builder ID, where its record may not say.

kiro-cli often leaves the start URL out of an organisation's record.  Two other places tell it: the client's
secret, a JWT with the address at which people sign in, and what kiro-cli notes of its last organisation; but
that may be an earlier one than the record's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from kiro_auth.json_values import as_text, first_text, object_in
from kiro_auth.kinds import BUILDER_ID_REGION, Kind, TokenService, is_builder_id

_LOGIN_ADDRESS: Final = "initiateLoginUri"
_INNER: Final = "serialized"
"""Where the JWT of a client secret has its claims, as JSON in a text; many independent clients, 2026."""
_BUILDER_IDS: Final = ("BuilderId",)
_ORGANISATIONS: Final = ("Enterprise", "Internal")


class Noted(Struct, frozen=True):
    """What a program notes of its last organisation.  `has_profile`: a Kiro profile was chosen."""

    start_url: str | None = None
    region: str | None = None
    has_profile: bool = False


class Judged(Struct, frozen=True):
    """What a sign-in at AWS is; `unsure`: the kind is a guess, and Kiro has to be asked."""

    kind: Kind
    start_url: str | None = None
    unsure: bool = False


KINDS_OF: Final[Mapping[TokenService, Judged]] = {
    "company": Judged("external-idp"),
    "desktop": Judged("social"),
}
"""What the sign-ins of the other services are."""


def judged(fields: Mapping[str, Any], secret: str | None, region: str, noted: Noted) -> Judged:
    """What the sign-in with these `fields` is; `secret` is its client's, `region` where it was made."""
    provider = first_text(fields, "provider") or ""
    start_url = first_text(fields, "startUrl", "start_url", "ssoStartUrl") or login_address(secret)
    organisation = provider in _ORGANISATIONS or first_text(fields, "authMethod", "auth_method") == "sso"
    if provider in _BUILDER_IDS:
        return Judged("builder-id", start_url)
    if start_url:
        return Judged("builder-id" if is_builder_id(start_url) and not organisation else "idc", start_url)
    near = noted.start_url if noted.region == region else None
    near = None if near and is_builder_id(near) else near
    if organisation or region != BUILDER_ID_REGION:
        return Judged("idc", near)
    return Judged("idc" if near or noted.has_profile else "builder-id", near, unsure=True)


def login_address(secret: str | None) -> str | None:
    """The start URL in a client secret of AWS, if it is a JWT that has one.  Nothing in it is verified."""
    parts = (secret or "").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = object_in(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))) or {}
    except (binascii.Error, ValueError):
        return None
    inner = object_in(claims.get(_INNER)) or {}
    address = as_text(claims.get(_LOGIN_ADDRESS)) or as_text(inner.get(_LOGIN_ADDRESS))
    if not address or not address.startswith("https://"):
        return None
    return address.partition("#")[0].rstrip("/")
