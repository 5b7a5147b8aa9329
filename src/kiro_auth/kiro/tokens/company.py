"""The renewal of sign-ins at a company's own identity provider: OAuth 2.0 of a public client (RFC 6749).

Where to ask stands in a file of another program, so it is not believed: nothing is sent to a host that is not
on the list of known providers, or in `endpoints.external_idp` of the user's own configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens.answers import post
from kiro_auth.kiro.tokens.grants import Renewable, TokenGrant, renewed

HOSTS: Final = (
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.partner.microsoftonline.cn",
)
DOMAINS: Final = ("okta.com", "oktapreview.com", "okta-emea.com", "okta-gov.com")
"""Providers whose tenants have subdomains of their own."""
_HOST: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\.[a-z]{2,}"


class Provider(Struct, frozen=True):
    """What a sign-in of this kind holds besides its tokens."""

    token_endpoint: str = ""
    issuer_url: str = ""
    client_id: str = ""
    scope: str = ""


async def renew(lines: Lines, endpoints: Endpoints, sign_in: Renewable) -> TokenGrant:
    """New tokens.

    Raises TurnFailed: KA-CONFIG for a host that is not known, KA-SIGNIN when the sign-in has ended or does
    not say where it was made.
    """
    provider = _provider(sign_in)
    own = endpoints.order("external_idp", sign_in.kind, sign_in.region)
    check(provider, [urlsplit(endpoint.url) for endpoint in own])
    form = {
        "grant_type": "refresh_token",
        "client_id": provider.client_id,
        "refresh_token": sign_in.refresh_token or "",
    }
    if provider.scope:
        form["scope"] = provider.scope
    url = provider.token_endpoint
    return renewed(await post(lines, url, sign_in.region, form, ended=True, form=True, proxy=sign_in.proxy))


def _provider(sign_in: Renewable) -> Provider:
    try:
        return msgspec.convert(sign_in.provider, Provider)
    except msgspec.ValidationError as error:
        message = f"The account's identity provider cannot be read: {error}."
        raise TurnFailed(Failure(code="KA-SIGNIN", message=message)) from error


def check(provider: Provider, own: Iterable[SplitResult] = ()) -> None:
    """Refuse a token endpoint that may not be asked; `own` are the addresses of the user's configuration.

    Raises TurnFailed.
    """
    url = provider.token_endpoint
    try:
        parts, issuer = urlsplit(url), urlsplit(provider.issuer_url)
        port, host = parts.port, (parts.hostname or "").lower()
    except ValueError as error:
        raise _refused(url, "it is not a URL") from error
    if any(letter.isspace() or letter in "\\@" or not letter.isprintable() for letter in url):
        raise _refused(host, "its address holds characters that none should")
    if any((place.scheme, place.netloc) == (parts.scheme, parts.netloc) for place in own):
        return
    if parts.scheme != "https" or port not in (None, 443) or not re.fullmatch(_HOST, host) or "xn--" in host:
        raise _refused(host, "it must be https at a plain host name")
    if host not in HOSTS and not any(host.endswith(f".{domain}") for domain in DOMAINS):
        raise _refused(host, "it is not a known provider")
    if issuer.hostname and issuer.hostname.lower() != host:
        raise _refused(host, f"the issuer is {issuer.hostname}")


def _refused(host: str, why: str) -> TurnFailed:
    return TurnFailed(
        Failure(
            code="KA-CONFIG",
            message=f"The identity provider at {host or 'an unknown host'} is not asked: {why}.",
            next_step="If it is your company's, name its address in endpoints.external_idp of kiro.json.",
        )
    )
