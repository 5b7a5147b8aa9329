"""What OpenID Connect says and what it wants believed, by Authlib; imported for the first sign-in alone.

Sources: OpenID Connect Core 1.0 (3.1.2, 3.1.3), RFC 6749 (4.1), RFC 7636.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from kiro_auth.dashboard.oidc import faults
from kiro_auth.dashboard.oidc.attempts import Attempt
from kiro_auth.dashboard.oidc.company import EMAIL, Company
from kiro_auth.dashboard.oidc.provider import Description, TokenRequest, Tokens
from kiro_auth.texts import learn

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that are believed: by a key of which only the public half is here.  `none` and HMAC are not."""
_LEEWAY: Final = 60
"""Seconds by which two clocks may differ."""


def authorization_url(endpoint: str, company: Company, attempt: Attempt, redirect: str) -> str:
    """Where a browser goes to sign in."""
    url: str = prepare_grant_uri(
        endpoint,
        company.client_id,
        "code",
        redirect_uri=redirect,
        scope="openid email" if company.claim == EMAIL else "openid email profile",
        state=attempt.state,
        nonce=attempt.nonce,
        code_challenge=create_s256_code_challenge(attempt.verifier),
        code_challenge_method="S256",
    )
    return url


def token_request(
    description: Description, company: Company, secret: str | None, attempt: Attempt, code: str, redirect: str
) -> TokenRequest:
    """The call that changes a code for tokens."""
    learn(code, attempt.verifier, secret)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "code_verifier": attempt.verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    client = ClientAuth(company.client_id, secret, _method(description, secret))
    _, headers, body = client.prepare("POST", description.token_endpoint, headers, urlencode(form))
    return TokenRequest(headers, body.encode())


def _method(description: Description, secret: str | None) -> str:
    """How the gateway says which client it is."""
    if secret is None:
        return "none"
    methods = description.token_endpoint_auth_methods_supported
    in_form = "client_secret_basic" not in methods and "client_secret_post" in methods
    return "client_secret_post" if in_form else "client_secret_basic"


def claims_of(
    tokens: Tokens, keys: Mapping[str, Any], company: Company, nonce: str, now: float
) -> Mapping[str, Any] | None:
    """What an id token says, if it is signed by one of the keys and meant for this sign-in.

    `now` is epoch seconds.  None: it is signed by a key that is not among these.  Raises SignInFailed.
    """
    try:
        token = jwt.decode(
            tokens.id_token,
            key=_key_set(keys),
            registry=JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False),
        )
        options: Any = {
            "iss": {"essential": True, "value": company.issuer},
            "aud": {"essential": True, "value": company.client_id},
        }
        given = {"nonce": nonce, "client_id": company.client_id, "access_token": tokens.access_token}
        claims = CodeIDToken(token.claims, token.header, options, given)
        claims.validate(now=int(now), leeway=_LEEWAY)
    except InvalidKeyIdError:
        return None
    except ExpiredTokenError as error:
        step = "Compare the clock of the gateway's machine with the company's, then sign in again."
        raise faults.refused("The company's sign-in had expired when it came.", step) from error
    except (JoseError, ValueError, TypeError, AttributeError) as error:  # it may hold values of any kind
        name = getattr(error, "claim", None)
        why = f"its `{name}` is not as it was asked for" if name else "its signature is not the company's"
        raise faults.refused(f"The company's sign-in cannot be believed: {why}.") from error
    return dict(claims)


def _key_set(keys: Mapping[str, Any]) -> KeySet:
    """Those that can be used: one that is damaged, or of a curve of tomorrow, is no reason to refuse all."""
    entries = keys.get("keys")
    found = map(_public_key, entries if isinstance(entries, list) else [])
    return KeySet([key for key in found if key is not None])


def _public_key(entry: Any) -> RSAKey | ECKey | None:
    kinds: dict[Any, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    if not isinstance(entry, dict) or entry.get("use") == "enc":
        return None
    try:
        return kinds[entry["kty"]].import_key(entry)
    except (JoseError, LookupError, ValueError, TypeError, AttributeError):
        return None
