"""What other programs hold of a sign-in, in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.account import Source
from kiro_auth.accounts.registry import SignedIn
from kiro_auth.json_values import first_text
from kiro_auth.kinds import BUILDER_ID_START_URL, KINDS, Kind

_SECONDS_BELOW: Final = 1e11
"""Epochs below are seconds, above milliseconds."""
_BUILDER_IDS: Final = ("BuilderId",)
_ORGANISATIONS: Final = ("Enterprise", "Internal")
_SOCIAL: Final = ("google", "github")


class Held(Struct, frozen=True, kw_only=True):
    """One sign-in of another program.  `expires_at` is epoch seconds, 0 for what cannot be read."""

    source: Source
    kind: Kind
    access_token: str
    refresh_token: str
    expires_at: float = 0.0
    region: str = "us-east-1"
    start_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    client_secret_expires_at: float | None = None
    profile_arn: str | None = None
    profile_name: str | None = None
    email: str | None = None
    id: str | None = None
    provider: Mapping[str, str] | None = None
    record: Mapping[str, Any] | None = None
    """A record of this program, from another machine: it is kept whole."""

    @property
    def whole(self) -> bool:
        """Whether it is enough to live on: a key is; sign-ins at AWS need the client they were made with."""
        kind = KINDS[self.kind]
        if kind.renewed_by is None:
            return bool(self.access_token)
        return bool(self.refresh_token and (not kind.needs_client or (self.client_id and self.client_secret)))

    def signed_in(self) -> SignedIn:
        """What there is to admit as an account."""
        return SignedIn(
            kind=self.kind,
            region=self.region,
            access_token=self.access_token,
            refresh_token=self.refresh_token or None,
            expires_at=self.expires_at,
            start_url=self.start_url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            client_secret_expires_at=self.client_secret_expires_at,
            profile_arn=self.profile_arn,
            profile_name=self.profile_name,
            email=self.email,
            source=self.source,
            id=self.id,
            provider=self.provider,
            record=self.record,
        )


def kind_of(fields: Mapping[str, Any], key: str = "") -> Kind:
    """The kind of a sign-in in foreign data, by what it holds."""
    method = str(first(fields, "authMethod", "auth_method") or "").lower()
    provider = str(fields.get("provider") or "")
    if (
        first(fields, "tokenEndpoint", "token_endpoint")
        or method in ("external_idp", "external-idp")
        or "external-idp" in key
    ):
        return "external-idp"
    at_aws = (
        (first(fields, "clientId", "client_id") and first(fields, "clientSecret", "client_secret"))
        or fields.get("clientIdHash")
        or method in ("idc", "builder-id", "iam", "sso")
        or "odic" in key
    )
    if not at_aws or provider.lower() in _SOCIAL or "social" in key:
        return "social"
    start_url = first(fields, "startUrl", "start_url", "ssoStartUrl")
    personal = provider in _BUILDER_IDS or start_url in (None, "", BUILDER_ID_START_URL)
    return "builder-id" if personal and method != "sso" and provider not in _ORGANISATIONS else "idc"


def first(fields: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that is there and not null."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def moment(value: Any) -> float:
    """A time in any of the forms that these files have, as epoch seconds; 0 for what cannot be read."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > _SECONDS_BELOW else float(value)
    if not isinstance(value, str):
        return 0.0
    try:
        # Python reads at most six digits of a fraction.
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def provider_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """The identity provider of a company's sign-in, as `kiro/tokens/company.py` reads it."""
    scopes = first(fields, "scopes", "scope")
    return {
        "token_endpoint": first_text(fields, "tokenEndpoint", "token_endpoint") or "",
        "issuer_url": first_text(fields, "issuerUrl", "issuer_url") or "",
        "client_id": first_text(fields, "clientId", "client_id") or "",
        "scope": " ".join(map(str, scopes)) if isinstance(scopes, list) else str(scopes or ""),
    }
