"""What other programs hold of a sign-in, in one form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from kiro_auth.accounts.account import Source
from kiro_auth.accounts.registry import SignedIn
from kiro_auth.json_values import as_number, as_words, first_text
from kiro_auth.kinds import KINDS, Kind, TokenService

_SECONDS_BELOW: Final = 1e11
"""Epochs below are seconds, above milliseconds."""
_END_OF_TIME: Final = 253402300800.0
"""Epoch seconds of the year 10000; what is later is no time."""
_SOCIAL: Final = ("google", "github")


class Held(Struct, frozen=True, kw_only=True):
    """One sign-in of another program.  `expires_at` is epoch seconds, 0 for what cannot be read."""

    source: Source
    kind: Kind
    kind_unsure: bool = False
    """Whether `kind` is a guess between Builder ID and an organisation, which only Kiro can settle."""
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

    no_client: str | None = None
    """Why the client that it was made with is not known."""
    left_alone: str | None = None
    """Why it is not worth taking over."""

    @property
    def lacks(self) -> str | None:
        """What it lacks to live on, in words; None when it is whole.

        A key is all there is to it; sign-ins at AWS need the client they were made with.
        """
        kind = KINDS[self.kind]
        if kind.renewed_by is None:
            return None if self.access_token else "it holds no key"
        if not self.refresh_token:
            return "it holds no refresh token"
        if kind.needs_client and not (self.client_id and self.client_secret):
            return self.no_client or "the client that it was made with is not known"
        return None

    def signed_in(self) -> SignedIn:
        """What there is to admit as an account."""
        return SignedIn(
            kind=self.kind,
            kind_unsure=self.kind_unsure,
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


def service_of(fields: Mapping[str, Any], key: str = "") -> TokenService:
    """The service that renews a sign-in in foreign data, by what it holds; `key` is its name there."""
    method = (first_text(fields, "authMethod", "auth_method") or "").lower()
    provider = (first_text(fields, "provider") or "").lower()
    if (
        first_text(fields, "tokenEndpoint", "token_endpoint")
        or method in ("external_idp", "external-idp")
        or "external-idp" in key
    ):
        return "company"
    at_aws = (
        (first_text(fields, "clientId", "client_id") and first_text(fields, "clientSecret", "client_secret"))
        or first_text(fields, "clientIdHash")
        or method in ("idc", "builder-id", "iam", "sso")
        or "odic" in key
    )
    return "aws_oidc" if at_aws and provider not in _SOCIAL and "social" not in key else "desktop"


def moment(value: Any) -> float:
    """A time in any of the forms that these files have, as epoch seconds; 0 for what cannot be read."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value):
        value = float(value)
    epoch = (_of_text(value) if isinstance(value, str) else as_number(value)) or 0.0
    if not isinstance(value, str) and epoch > _SECONDS_BELOW:
        epoch /= 1000
    return epoch if 0 <= epoch < _END_OF_TIME else 0.0


def _of_text(value: str) -> float | None:
    try:
        # Python reads at most six digits of a fraction.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def provider_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """The identity provider of a company's sign-in, as `kiro/tokens/company.py` reads it."""
    scopes = " ".join(as_words(fields.get("scopes") or fields.get("scope")))
    return {
        "token_endpoint": first_text(fields, "tokenEndpoint", "token_endpoint") or "",
        "issuer_url": first_text(fields, "issuerUrl", "issuer_url") or "",
        "client_id": first_text(fields, "clientId", "client_id") or "",
        "scope": scopes or first_text(fields, "scopes", "scope") or "",
    }
