"""The sign-in services: AWS SSO OIDC (device flow and refresh), and the refresh of social sign-ins.

Plain HTTP calls; tests hold their bodies against the service model in botocore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro.endpoints import Endpoints
from kiro_auth.kiro.oidc_answers import Answer, post

CLIENT_NAME: Final = "opencode-kiro-auth"
"""What the consent page shows."""
SCOPES: Final = ("codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations")
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
LIFETIME: Final = 3600
"""Seconds an access token is taken to live when the answer does not say."""


class Registration(Struct, frozen=True):
    """The program as a client of one region's service.  `expires_at` is epoch seconds, None if unsaid."""

    client_id: str
    client_secret: str
    expires_at: float | None = None


class DeviceAuthorization(Struct, frozen=True):
    """What a person has to confirm, and how often to ask whether they did (seconds)."""

    device_code: str
    user_code: str
    url: str
    expires_in: float
    interval: float


class TokenGrant(Struct, frozen=True):
    """Tokens.  `expires_in` is seconds; without a `refresh_token` the one used stays good.

    `server_time` is the service's clock (epoch seconds) from the Date header.
    """

    access_token: str
    refresh_token: str | None
    expires_in: int
    profile_arn: str | None = None
    server_time: float | None = None


async def register(http: aiohttp.ClientSession, endpoints: Endpoints, *, region: str) -> Registration:
    """Make this program known to a region's service.  Raises TurnFailed."""
    answer = await _oidc(
        http,
        endpoints,
        region,
        "/client/register",
        {
            "clientName": CLIENT_NAME,
            "clientType": "public",
            "scopes": list(SCOPES),
            "grantTypes": [DEVICE_GRANT, "refresh_token"],
        },
    )
    client_id, client_secret = answer.text("clientId"), answer.text("clientSecret")
    if not client_id or not client_secret:
        raise answer.incomplete()
    return Registration(client_id, client_secret, answer.number("clientSecretExpiresAt"))


async def start_device_authorization(
    http: aiohttp.ClientSession,
    endpoints: Endpoints,
    *,
    region: str,
    registration: Registration,
    start_url: str,
) -> DeviceAuthorization:
    """Ask for a code that a person confirms in a browser.  Raises TurnFailed."""
    answer = await _oidc(
        http,
        endpoints,
        region,
        "/device_authorization",
        {
            "clientId": registration.client_id,
            "clientSecret": registration.client_secret,
            "startUrl": start_url,
        },
    )
    device_code, user_code = answer.text("deviceCode"), answer.text("userCode")
    page = answer.text("verificationUri")
    url = answer.text("verificationUriComplete")
    if not url and page and user_code:
        url = page + ("&" if "?" in page else "?") + urlencode({"user_code": user_code})
    if not (device_code and user_code and url):
        raise answer.incomplete()
    return DeviceAuthorization(
        device_code=device_code,
        user_code=user_code,
        url=url,
        expires_in=answer.number("expiresIn") or 600,
        interval=answer.number("interval") or 5,
    )


async def create_token(
    http: aiohttp.ClientSession,
    endpoints: Endpoints,
    *,
    region: str,
    registration: Registration,
    device_code: str,
) -> TokenGrant:
    """Ask once whether the code was confirmed.

    Raises TurnFailed; `failure.reason` is then the service's word: `authorization_pending`, `slow_down`,
    `expired_token`, `access_denied`, ….
    """
    answer = await _oidc(
        http,
        endpoints,
        region,
        "/token",
        {
            "clientId": registration.client_id,
            "clientSecret": registration.client_secret,
            "grantType": DEVICE_GRANT,
            "deviceCode": device_code,
        },
    )
    return granted(answer)


async def refresh(
    http: aiohttp.ClientSession,
    endpoints: Endpoints,
    *,
    kind: str,
    region: str,
    refresh_token: str,
    client_id: str | None,
    client_secret: str | None,
    proxy: str | None = None,
) -> TokenGrant:
    """New tokens for an account.

    Raises TurnFailed: KA-SIGNIN when the sign-in has ended for good, KA-NETWORK, KA-TIMEOUT or KA-SERVICE
    when it may work later with the same refresh token.
    """
    if kind == "social":
        url = _url(endpoints, "desktop_auth", kind, region) + "/refreshToken"
        body = {"refreshToken": refresh_token}
        return granted(await post(http, url, region, body, ended=True, proxy=proxy))
    if kind not in ("builder-id", "idc"):
        raise TurnFailed(
            Failure(
                code="KA-SIGNIN",
                message=f"Sign-ins of kind {kind} are not renewed by this program.",
                next_step="Sign in with AWS Builder ID or your organisation: kiro-auth login",
            )
        )
    if not client_id or not client_secret:
        raise TurnFailed(
            Failure(
                code="KA-SIGNIN",
                message="The stored account has no client registration, so it cannot be renewed.",
                next_step="Sign in again: kiro-auth login",
            )
        )
    url = _url(endpoints, "oidc", kind, region) + "/token"
    body = {
        "clientId": client_id,
        "clientSecret": client_secret,
        "grantType": "refresh_token",
        "refreshToken": refresh_token,
    }
    return granted(await post(http, url, region, body, ended=True, proxy=proxy))


def granted(answer: Answer) -> TokenGrant:
    """The tokens of an answer.  Raises TurnFailed when it holds none."""
    access_token = answer.text("accessToken")
    if not access_token:
        raise answer.incomplete()
    return TokenGrant(
        access_token=access_token,
        refresh_token=answer.text("refreshToken"),
        expires_in=int(answer.number("expiresIn") or 0) or LIFETIME,
        profile_arn=answer.text("profileArn"),
        server_time=answer.server_time,
    )


def _url(endpoints: Endpoints, role: str, kind: str, region: str) -> str:
    return endpoints.order(role, kind, region)[0].url


async def _oidc(
    http: aiohttp.ClientSession, endpoints: Endpoints, region: str, path: str, body: Mapping[str, Any]
) -> Answer:
    return await post(http, _url(endpoints, "oidc", "idc", region) + path, region, body, ended=False)
