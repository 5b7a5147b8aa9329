"""AWS SSO OIDC, the sign-in service of Builder IDs and organisations: the device flow, and the renewal.

Plain HTTP calls; tests hold their bodies against the service model in botocore.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.kiro import checked
from kiro_auth.kiro.edge.endpoints import Endpoints
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.kiro.tokens.answers import Answer, post
from kiro_auth.kiro.tokens.grants import Renewable, TokenGrant, granted, renewed

CLIENT_NAME: Final = "opencode-kiro-auth"
"""What the consent page shows."""
SCOPES: Final = ("codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations")
_LONGEST_CODE: Final = 86400  # seconds that a code may count
_LONGEST_PAUSE: Final = 300  # seconds between two questions
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


class Registration(Struct, frozen=True):
    """The program as a client of one region's service.  `expires_at` is epoch seconds, None if unsaid."""

    client_id: str
    client_secret: str
    expires_at: float | None = None


class DeviceAuthorization(Struct, frozen=True):
    """What a person has to confirm.  `expires_in` and `interval`, between two questions, are seconds."""

    device_code: str
    user_code: str
    url: str
    expires_in: float
    interval: float


async def register(lines: Lines, endpoints: Endpoints, *, region: str) -> Registration:
    """Make this program known to a region's service.  Raises TurnFailed."""
    answer = await _oidc(
        lines,
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
    client_id = checked.kept_token(answer.value("clientId"))
    client_secret = checked.kept_token(answer.value("clientSecret"))
    if not client_id or not client_secret:
        raise answer.incomplete()
    return Registration(client_id, client_secret, checked.moment(answer.value("clientSecretExpiresAt")))


async def start_device_authorization(
    lines: Lines,
    endpoints: Endpoints,
    *,
    region: str,
    registration: Registration,
    start_url: str,
) -> DeviceAuthorization:
    """Ask for a code that a person confirms in a browser.  Raises TurnFailed."""
    answer = await _oidc(
        lines,
        endpoints,
        region,
        "/device_authorization",
        {
            "clientId": registration.client_id,
            "clientSecret": registration.client_secret,
            "startUrl": start_url,
        },
    )
    device_code = checked.kept_token(answer.value("deviceCode"))
    user_code = checked.identifier(answer.value("userCode"))
    page = checked.address(answer.value("verificationUri"))
    url = checked.address(answer.value("verificationUriComplete"))
    if not url and page and user_code:
        url = page + ("&" if "?" in page else "?") + urlencode({"user_code": user_code})
    if not (device_code and user_code and url):
        raise answer.incomplete()
    return DeviceAuthorization(
        device_code=device_code,
        user_code=user_code,
        url=url,
        expires_in=checked.seconds(answer.value("expiresIn"), _LONGEST_CODE) or 600,
        interval=checked.seconds(answer.value("interval"), _LONGEST_PAUSE) or 5,
    )


async def create_token(
    lines: Lines,
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
        lines,
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


async def renew(lines: Lines, endpoints: Endpoints, sign_in: Renewable) -> TokenGrant:
    """New tokens.

    Raises TurnFailed: KA-SIGNIN when the sign-in has ended for good, KA-NETWORK, KA-TIMEOUT or KA-SERVICE
    when it may work later with the same refresh token.
    """
    if not sign_in.client_id or not sign_in.client_secret:
        raise TurnFailed(
            Failure(
                code="KA-SIGNIN",
                message="The stored account has no client registration, so it cannot be renewed.",
                next_step="Sign in again: kiro-auth login",
            )
        )
    body = {
        "clientId": sign_in.client_id,
        "clientSecret": sign_in.client_secret,
        "grantType": "refresh_token",
        "refreshToken": sign_in.refresh_token or "",
    }
    url = _url(endpoints, sign_in.region) + "/token"
    return renewed(await post(lines, url, sign_in.region, body, ended=True, proxy=sign_in.proxy))


def _url(endpoints: Endpoints, region: str) -> str:
    return endpoints.order("oidc", "idc", region)[0].url


async def _oidc(
    lines: Lines, endpoints: Endpoints, region: str, path: str, body: Mapping[str, Any]
) -> Answer:
    return await post(lines, _url(endpoints, region) + path, region, body, ended=False)
