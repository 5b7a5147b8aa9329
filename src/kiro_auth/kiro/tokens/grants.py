"""What a renewal needs of a sign-in, and what it brings."""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Struct

from kiro_auth.kinds import Kind
from kiro_auth.kiro import checked
from kiro_auth.kiro.tokens.answers import Answer

LIFETIME: Final = 3600
"""Seconds an access token is taken to live when the answer does not say."""


LONGEST_LIFETIME: Final = 366 * 86400
"""Seconds; an answer that says more does not say how long it lives."""


class TokenGrant(Struct, frozen=True):
    """Tokens.  `expires_in` is seconds; without a `refresh_token` the one used stays good.

    An empty `access_token` is one that cannot be used; the refresh token is worth keeping all the same.
    """

    access_token: str
    refresh_token: str | None
    expires_in: int
    profile_arn: str | None = None


class Renewable(Protocol):
    """What a token service is told of a sign-in; an account is one."""

    @property
    def kind(self) -> Kind:
        """How it was made."""

    @property
    def region(self) -> str:
        """The AWS region in which it was made."""

    @property
    def refresh_token(self) -> str | None:
        """The token that a renewal spends."""

    @property
    def client_id(self) -> str | None:
        """The client that it was made with."""

    @property
    def client_secret(self) -> str | None:
        """The client's secret."""

    @property
    def provider(self) -> Any:
        """The company's identity provider, as `company.Provider` reads it; it comes from a file."""

    @property
    def proxy(self) -> str | None:
        """The way to the service, if it has one of its own."""


def granted(answer: Answer) -> TokenGrant:
    """The tokens of a sign-in's answer.  Raises TurnFailed when it holds none to use."""
    grant = renewed(answer)
    if not grant.access_token:
        raise answer.incomplete()
    return grant


def renewed(answer: Answer) -> TokenGrant:
    """The tokens of a renewal's answer: the old refresh token is spent, so whatever is new is kept.

    Raises TurnFailed when it holds none.
    """
    access_token = checked.access_token(answer.value("accessToken"))
    refresh_token = checked.kept_token(answer.value("refreshToken"))
    if not access_token and not refresh_token:
        raise answer.incomplete()
    return TokenGrant(
        access_token=access_token or "",
        refresh_token=refresh_token,
        expires_in=int(checked.seconds(answer.value("expiresIn"), LONGEST_LIFETIME) or 0) or LIFETIME,
        profile_arn=checked.identifier(answer.value("profileArn")),
    )
