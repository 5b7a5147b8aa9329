"""The company's OpenID provider over HTTP: what it says of itself, its keys, and tokens for a code.

The calls go over the program's own lines: their time and their answers are bounded, they follow no redirect,
and proxies and certificates are those that all other calls have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from kiro_auth.addresses import acceptable_url
from kiro_auth.dashboard.oidc import faults
from kiro_auth.failures import TurnFailed
from kiro_auth.kiro.edge.answer import LineFailed
from kiro_auth.kiro.edge.bounded import read_bounded
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.texts import learn

SECONDS: Final = 10.0
"""The longest that one call may take."""
KNOWN_SECONDS: Final = 3600.0
"""How long what a provider says of itself counts."""
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_UNREADABLE: Final = (ValueError, RecursionError)  # msgspec's, of what is no UTF-8, and of what is too deep
T = TypeVar("T")


class Description(Struct, frozen=True):
    """What is used of a provider's metadata (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class TokenRequest(Struct, frozen=True):
    """The call for them."""

    headers: Mapping[str, str]
    body: bytes


class Tokens(Struct, frozen=True):
    """What a code was changed for."""

    id_token: str
    access_token: str | None = None


class _Refusal(Struct, frozen=True):
    error: str = ""


class Provider:
    """The one that `lines` lead to; `clock` gives seconds, and never goes back."""

    def __init__(self, lines: Lines, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._clock = clock
        self._known: tuple[float, Description] | None = None
        self._keys: tuple[float, str, Mapping[str, Any]] | None = None

    async def description(self, issuer: str) -> Description:
        """What the issuer says of itself.  Raises SignInFailed, ConfigFailed."""
        if self._known is not None and self._known[0] > self._clock() and self._known[1].issuer == issuer:
            return self._known[1]
        url = issuer.rstrip("/") + _WELL_KNOWN
        description = _decoded(url, await self._read(url), Description)
        if description.issuer != issuer:
            raise faults.wrong_option("The issuer of dashboard_oidc calls itself by another address.")
        for endpoint in (
            description.authorization_endpoint,
            description.token_endpoint,
            description.jwks_uri,
        ):
            if not acceptable_url(endpoint):
                raise faults.away(url, "names addresses that are not https")
        self._known = (self._clock() + KNOWN_SECONDS, description)
        return description

    async def keys(self, description: Description, *, anew: bool = False) -> Mapping[str, Any]:
        """Its public keys, as JWKs.  Raises SignInFailed."""
        url = description.jwks_uri
        if not anew and self._keys is not None and self._keys[0] > self._clock() and self._keys[1] == url:
            return self._keys[2]
        keys = _decoded(url, await self._read(url), dict[str, Any])
        self._keys = (self._clock() + KNOWN_SECONDS, url, keys)
        return keys

    async def tokens(self, description: Description, request: TokenRequest) -> Tokens:
        """Change a code for tokens.  Raises SignInFailed, ConfigFailed."""
        url = description.token_endpoint
        status, answer = await self._call("POST", url, request.headers, request.body)
        if status != 200:
            raise _not_taken(url, status, answer)
        tokens = _decoded(url, answer, Tokens)
        learn(tokens.id_token, tokens.access_token)
        return tokens

    async def _read(self, url: str) -> bytes:
        status, body = await self._call("GET", url, {"Accept": "application/json"}, b"")
        if status != 200:
            raise faults.away(url, f"answers with HTTP {status}")
        return body

    async def _call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        try:
            async with self._lines.call(url, headers, body, seconds=SECONDS, method=method) as answer:
                return answer.status, await read_bounded(answer)
        except LineFailed as error:
            is_slow = error.fault in ("slow", "silent")
            why = f"did not answer within {SECONDS:.0f} seconds" if is_slow else "cannot be reached"
            raise faults.away(url, why) from error
        except TurnFailed as error:
            raise faults.away(url, "answers with more than it should") from error


def _decoded(url: str, body: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=type_)
    except _UNREADABLE as error:
        raise faults.away(url, "answers with something that is no OpenID Connect") from error


def _not_taken(url: str, status: int, body: bytes) -> Exception:
    try:
        word = msgspec.json.decode(body, type=_Refusal).error
    except _UNREADABLE:
        word = ""
    if word == "invalid_grant":
        return faults.refused(
            "The company did not take the code of this sign-in: it is old, or was used before."
        )
    if word in ("invalid_client", "unauthorized_client"):
        return faults.wrong_option("The company does not know this gateway by its client_id and secret.")
    return faults.away(url, f"answers with HTTP {status}")
