"""The kinds of sign-in, one row each: what every other room has to know of them.

A further kind is a row here, and, if a service of its own renews its tokens, a module in `kiro/tokens/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["builder-id", "idc", "social", "external-idp", "api-key"]
"""How an account signs in: AWS Builder ID, an organisation's IAM Identity Center, Google or GitHub, a
company's own identity provider, or a `ksk_` key."""

TokenService: TypeAlias = Literal["aws_oidc", "desktop", "company"]
"""The service that renews tokens, by the name of its module in `kiro/tokens/`."""

BUILDER_ID_START_URL: Final = "https://view.awsapps.com/start"
BUILDER_ID_REGION: Final = "us-east-1"
"""Where a Builder ID signs in: the sources of AWS's own tools, 2026."""


class KindRow(Struct, frozen=True, kw_only=True):
    """What is known of one kind."""

    words: str
    """What people call it."""
    short: str
    """The same in the name of an account, where it tells it from another."""
    stored: tuple[str, ...]
    """`authMethod` in files of the original plugin: the first is written, all are read."""
    placeholder: str | None = "builder-id@aws.amazon.com"
    """What the original's file holds for an e-mail that is not known."""
    renewed_by: TokenService | None
    """None: the token is never renewed."""
    type_header: str | None = None
    """The header `TokenType`, without which the service does not take tokens of this kind."""
    hosts_first: Literal["new", "old"] = "new"
    """Which hosts of Kiro are asked first."""
    needs_profile: bool = False
    """Whether the service serves it by a profile that an organisation assigned."""
    needs_client: bool = False
    """Whether a renewal needs the client that the sign-in was made with."""
    has_start_url: bool = False
    """Whether it signs in at a start URL of its organisation."""
    sign_in: str = "kiro-auth login"
    """What to type to sign in again; `{start_url}` and `{region}` are the account's."""

    def sign_in_command(self, start_url: str | None, region: str) -> str:
        """What to type to sign in again where this account did."""
        if self.has_start_url and not start_url:
            return "kiro-auth login"
        return self.sign_in.format(start_url=start_url, region=region)


KINDS: Final[Mapping[Kind, KindRow]] = {
    "builder-id": KindRow(
        words="AWS Builder ID",
        short="Builder ID",
        stored=("idc", "builder-id"),
        renewed_by="aws_oidc",
        needs_client=True,
        sign_in="kiro-auth login --builder-id",
    ),
    "idc": KindRow(
        words="IAM Identity Center",
        short="organisation",
        stored=("sso",),
        placeholder="sso-user@aws.amazon.com",
        renewed_by="aws_oidc",
        needs_profile=True,
        needs_client=True,
        has_start_url=True,
        sign_in="kiro-auth login --start-url {start_url} --region {region}",
    ),
    "social": KindRow(
        words="Google or GitHub",
        short="Google or GitHub",
        stored=("social", "desktop"),
        renewed_by="desktop",
    ),
    "external-idp": KindRow(
        words="company sign-in",
        short="company sign-in",
        stored=("external-idp", "external_idp"),
        renewed_by="company",
        type_header="EXTERNAL_IDP",
        hosts_first="old",
        needs_profile=True,
    ),
    "api-key": KindRow(
        words="API key",
        short="API key",
        stored=("api-key",),
        placeholder=None,
        renewed_by=None,
        type_header="API_KEY",
        hosts_first="old",
        sign_in="kiro-auth login --api-key",
    ),
}

_BY_METHOD: Final[Mapping[str, Kind]] = {word: kind for kind, row in KINDS.items() for word in row.stored}


def stored_kind(method: str, start_url: str | None) -> Kind:
    """The kind that a stored `authMethod` means; an unknown word means a sign-in with Google or GitHub.

    The original wrote `idc` for Builder ID; with an organisation's start URL it is that organisation's.
    """
    kind = _BY_METHOD.get(method, "social")
    if kind == "builder-id" and start_url and not is_builder_id(start_url):
        return "idc"
    return kind


def bare_start_url(url: str) -> str:
    """A start URL in the form in which two can be compared: browsers add a fragment and a slash."""
    return url.strip().split("#")[0].rstrip("/").lower()


def is_builder_id(start_url: str) -> bool:
    """Whether people sign in there with AWS Builder ID."""
    return bare_start_url(start_url) == BUILDER_ID_START_URL
