"""The rules of the sign-in services: AWS SSO OIDC, and the refresh of social sign-ins.

A call takes the world, its region and its JSON body; it gives the body of the answer or raises
SignInRefused.  After AWS's published `sso-oidc` model; what the model leaves open is in docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from kiro_auth.simulator.world import Client, Device, RefreshToken, TokenPair, World

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
REFRESH_GRANT: Final = "refresh_token"
CODE_GRANT: Final = "authorization_code"
SLOWER: Final = 5
"""Seconds that the interval grows by when a program asks too often."""

_SLACK: Final = 0.1  # seconds that a poll may come early: networks are not as even as the programs' sleep
GRANTS: Final = frozenset({DEVICE_GRANT, REFRESH_GRANT, CODE_GRANT})
_SCOPES: Final = frozenset(
    {
        "codewhisperer:analysis",
        "codewhisperer:completions",
        "codewhisperer:conversations",
        "codewhisperer:taskassist",
        "codewhisperer:transformations",
        "sso:account:access",
    }
)
_ERRORS: Final = {
    # `error` in the body: exception in the header, status
    "invalid_request": ("InvalidRequestException", 400),
    "invalid_client": ("InvalidClientException", 401),
    "invalid_grant": ("InvalidGrantException", 400),
    "unauthorized_client": ("UnauthorizedClientException", 400),
    "unsupported_grant_type": ("UnsupportedGrantTypeException", 400),
    "invalid_scope": ("InvalidScopeException", 400),
    "invalid_client_metadata": ("InvalidClientMetadataException", 400),
    "invalid_redirect_uri": ("InvalidRedirectUriException", 400),
    "authorization_pending": ("AuthorizationPendingException", 400),
    "slow_down": ("SlowDownException", 400),
    "access_denied": ("AccessDeniedException", 400),
    "expired_token": ("ExpiredTokenException", 400),
}


class SignInRefused(Exception):
    """A call of AWS SSO OIDC is refused: `error` is its word for why, `status` and `type` follow from it."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.type, self.status = _ERRORS[error]

    def json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": self.error, "error_description": self.description}


class TenantRefused(Exception):
    """An error of a company's identity provider, by its name in RFC 6749."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.status = 401 if error == "invalid_client" else 400

    def json(self) -> dict[str, Any]:
        """The error's body."""
        return {"error": str(self), "error_description": "AADSTS: refused."}


class SocialRefused(Exception):
    """A refresh of a social sign-in is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def json(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"message": self.message}


# ------------------------------------------------------------------------------------------ register


def register_client(world: World, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """RegisterClient."""
    _text(body, "clientName")
    if _text(body, "clientType") != "public":
        raise SignInRefused("invalid_client_metadata", "Invalid client type: only public is supported.")
    if not _texts(body, "scopes") <= _SCOPES:
        raise SignInRefused("invalid_scope", "Invalid scope requested.")
    grants = _texts(body, "grantTypes")
    if not grants <= GRANTS:
        raise SignInRefused("unsupported_grant_type", "Unsupported grant type.")
    if not all(map(_may_redirect_to, _texts(body, "redirectUris"))):
        raise SignInRefused("invalid_redirect_uri", "Invalid redirect URI.")
    issuer = _text(body, "issuerUrl") if body.get("issuerUrl") is not None else None
    client = world.add_client(region, grants=grants or GRANTS, issuer=issuer)
    return {
        "clientId": client.id,
        "clientSecret": client.secret,
        "clientIdIssuedAt": int(world.now()),
        "clientSecretExpiresAt": int(client.expires_at),
        "authorizationEndpoint": None,
        "tokenEndpoint": None,
    }


def _may_redirect_to(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")


def _client(world: World, region: str, body: Mapping[str, Any]) -> Client:
    client = world.clients.get((region, _text(body, "clientId")))
    if client is None or client.secret != _text(body, "clientSecret") or client.expires_at <= world.now():
        raise SignInRefused("invalid_client", "Invalid client credentials provided.")
    return client


# -------------------------------------------------------------------------------------------- device


def start_device_authorization(
    world: World, region: str, body: Mapping[str, Any], *, page: str
) -> dict[str, Any]:
    """StartDeviceAuthorization; `page` is where people confirm codes."""
    client = _client(world, region, body)
    start_url = _text(body, "startUrl")
    if DEVICE_GRANT not in client.grants:
        raise SignInRefused("unauthorized_client", "Client is not registered for this grant type.")
    if not world.members(start_url, region) or client.issuer not in (None, start_url):
        raise SignInRefused("invalid_request", "Invalid start url provided.")
    device = world.add_device(region, client, start_url)
    return {
        "deviceCode": device.device_code,
        "userCode": device.user_code,
        "verificationUri": page,
        "verificationUriComplete": f"{page}?{urlencode({'user_code': device.user_code})}",
        "expiresIn": world.settings.device_seconds,
        "interval": world.settings.device_interval,
    }


# --------------------------------------------------------------------------------------------- token


def create_token(world: World, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """CreateToken, by device code or refresh token."""
    client = _client(world, region, body)
    match _text(body, "grantType"):
        case "urn:ietf:params:oauth:grant-type:device_code":
            pair = _by_device_code(world, region, client, _text(body, "deviceCode"))
        case "refresh_token":
            pair = _by_refresh_token(world, region, client, _text(body, "refreshToken"))
        case _:
            raise SignInRefused("unsupported_grant_type", "Unsupported grant type.")
    return _tokens(pair) | {"tokenType": "Bearer", "idToken": None}


def _by_device_code(world: World, region: str, client: Client, code: str) -> TokenPair:
    device = world.devices.get((region, code))
    if device is None or device.client_id != client.id or device.status == "used":
        raise SignInRefused("invalid_grant", "Invalid device code provided.")
    if device.expires_at <= world.now():
        raise SignInRefused("expired_token", "The device code has expired.")
    _keep_pace(world, device)
    if device.status == "denied":
        raise SignInRefused("access_denied", "The request was denied.")
    if device.status == "pending" and world.settings.auto_approve:
        world.approve(device)
    if device.user is None:
        raise SignInRefused("authorization_pending", "The authorization is still pending.")
    device.status = "used"
    return world.issue(region, device.user, client.id)


def _keep_pace(world: World, device: Device) -> None:
    before, device.polled_at = device.polled_at, world.now()
    if before is not None and device.polled_at - before < device.interval - _SLACK:
        device.interval += SLOWER
        raise SignInRefused("slow_down", "The client is polling too fast.")


def _by_refresh_token(world: World, region: str, client: Client, token: str) -> TokenPair:
    known = _refreshable(world, region, token)
    if known is None or known.client_id != client.id:
        raise SignInRefused("invalid_grant", "Invalid refresh token provided")
    if known.ends_at <= world.now():
        raise SignInRefused("expired_token", "The session has expired.")
    return world.rotate(known)


def _refreshable(world: World, region: str, token: str) -> RefreshToken | None:
    known = world.refresh_tokens.get((region, token))
    return None if known is None or world.is_spent(known) else known


def _tokens(pair: TokenPair) -> dict[str, Any]:
    return {"accessToken": pair.access, "refreshToken": pair.refresh, "expiresIn": pair.expires_in}


# -------------------------------------------------------------------------------------------- social


def refresh_social(world: World, region: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The refresh of a Google or GitHub sign-in.  Raises SocialRefused."""
    token = body.get("refreshToken")
    if not isinstance(token, str) or not token:
        raise SocialRefused(400, "refreshToken is required")
    known = _refreshable(world, region, token)
    if known is None:
        raise SocialRefused(400, "Invalid refresh token provided")
    if known.client_id is not None or known.ends_at <= world.now():
        raise SocialRefused(401, "Bad credentials")
    user = world.users[known.user]
    return _tokens(world.rotate(known)) | {"profileArn": user.profiles[0].arn if user.profiles else None}


# ---------------------------------------------------------------------- a company's identity provider


def refresh_tenant(world: World, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
    """The refresh at a tenant's own token endpoint (RFC 6749, a public client).  Raises TenantRefused."""
    if form.get("grant_type") != "refresh_token":
        raise TenantRefused("unsupported_grant_type")
    if not form.get("client_id") or "client_secret" in form:
        raise TenantRefused("invalid_client")
    known = _refreshable(world, tenant, form.get("refresh_token", ""))
    if known is None or known.client_id != form["client_id"] or known.ends_at <= world.now():
        raise TenantRefused("invalid_grant")
    pair = world.rotate(known)
    return {
        "access_token": pair.access,
        "refresh_token": pair.refresh,
        "expires_in": pair.expires_in,
        "token_type": "Bearer",
    }


# -------------------------------------------------------------------------------------------- fields


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise SignInRefused("invalid_request", f"Invalid or missing {name}.")
    return value


def _texts(body: Mapping[str, Any], name: str) -> frozenset[str]:
    value = body.get(name)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SignInRefused("invalid_request", f"Invalid {name}.")
    return frozenset(value)
