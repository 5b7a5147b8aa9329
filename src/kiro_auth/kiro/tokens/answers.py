"""How the sign-in services answer: one call, its answer read tolerantly, its refusals as failures.

The services are known to leave fields out and to send null, and proxies in between send HTML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from kiro_auth.failures import Failure, TurnFailed
from kiro_auth.json_values import object_in
from kiro_auth.kiro import checked
from kiro_auth.kiro.edge.bounded import read_bounded
from kiro_auth.kiro.edge.errors import translated
from kiro_auth.kiro.edge.lines import Lines
from kiro_auth.texts import learn

_SECONDS: Final = 30.0  # the longest that a call may take
_SECRET: Final = ("token", "secret", "devicecode")
"""How the names of fields end that hold one, in lower case."""


class Answer(Struct, frozen=True):
    """One JSON answer, read tolerantly: camelCase or snake_case, null and absent alike."""

    host: str
    fields: Mapping[str, Any]

    def value(self, name: str) -> Any:
        """What stands there, for one of the checks of `checked`."""
        value = self.fields.get(name)
        if value is not None:
            return value
        snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
        return self.fields.get(snake)

    def incomplete(self) -> TurnFailed:
        """What to raise when a field is missing that must be there."""
        return TurnFailed(
            Failure(
                code="KA-SERVICE",
                message=f"The answer of {self.host} lacks what it must hold.",
                next_step="Repeat it; check that no proxy changes answers.",
            )
        )


async def post(
    lines: Lines,
    url: str,
    region: str,
    body: Mapping[str, Any],
    *,
    ended: bool,
    form: bool = False,
    proxy: str | None = None,
) -> Answer:
    """One call, its body as JSON or as a `form`, through this `proxy` or that of the environment.

    `ended`: a refusal means that an account's sign-in has ended, not that one failed.
    """
    kind = "application/x-www-form-urlencoded" if form else "application/json"
    headers = {"Content-Type": kind, "Accept": "application/json"}
    sent = urlencode(body).encode() if form else msgspec.json.encode(body)
    with translated(url, region, own_proxy=proxy is not None):
        async with lines.call(url, headers, sent, seconds=_SECONDS, proxy=proxy) as answer:
            body_read = await read_bounded(answer)
    fields = object_in(body_read) or _object_at_the_start(body_read)
    learn(*_secrets(body), *_secrets(fields or {}))
    if answer.status == 200 and fields is not None and not fields.get("error"):
        return Answer(answer.host, fields)
    error_type = answer.headers.get("x-amzn-errortype", "")
    raise TurnFailed(_failure(answer.host, answer.status, error_type, fields or {}, answer.headers, ended))


def _object_at_the_start(body: bytes) -> dict[str, Any] | None:
    """The object of an answer that is not quite JSON: the tokens in it are the only good ones.

    A figure may be too large, a text hold half a character or a control character, something stand behind.
    """
    text = body.decode(errors="replace").lstrip("\ufeff \t\r\n")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _secrets(fields: Mapping[str, Any]) -> Iterator[str]:
    """What of a call or its answer must stand in no text."""
    for name, value in fields.items():
        if isinstance(value, str) and name.lower().replace("_", "").endswith(_SECRET):
            yield value


# ---------------------------------------------------------------------------------------- failures

_WORDS: Final = {
    "InvalidRequestException": "invalid_request",
    "InvalidClientException": "invalid_client",
    "InvalidGrantException": "invalid_grant",
    "UnauthorizedClientException": "unauthorized_client",
    "UnsupportedGrantTypeException": "unsupported_grant_type",
    "InvalidScopeException": "invalid_scope",
    "InvalidClientMetadataException": "invalid_client_metadata",
    "InvalidRedirectUriException": "invalid_redirect_uri",
    "AuthorizationPendingException": "authorization_pending",
    "SlowDownException": "slow_down",
    "ThrottlingException": "slow_down",
    "AccessDeniedException": "access_denied",
    "ExpiredTokenException": "expired_token",
    "InternalServerException": "server_error",
}
"""The service's exceptions and the words its bodies have for them."""

_UNREADABLE: Final = "server_error"
"""What an error counts as whose word is none: nobody's sign-in has ended for it."""
_PASSING: Final = frozenset({"slow_down", "server_error"})

_ENDED: Final = {
    "invalid_grant": "its refresh token was revoked, has expired, or was used elsewhere",
    "invalid_client": "it is older than its registration, which lasts about 90 days",
    "expired_token": "its period is over",
    "interaction_required": "the company's identity provider wants you to sign in again in Kiro",
    "unauthorized_client": "the organisation does not allow this program; ask your administrator",
    "access_denied": "the organisation's policy refuses it; ask your administrator",
}

_REFUSED: Final = {
    "authorization_pending": "The sign-in is not confirmed yet.",
    "expired_token": "The code has expired before it was confirmed.",
    "access_denied": "The sign-in was declined on AWS's page, or your organisation does not allow it.",
    "invalid_request": "The start URL is unknown in the region, or the request is wrong.",
    "invalid_grant": "The code was used already.",
    "unauthorized_client": "The organisation does not allow this program; ask your administrator.",
}


_REMEDIES: Final = {
    "access_denied": "If it was not you who declined, ask your administrator. Else: kiro-auth login",
    "unauthorized_client": "Then: kiro-auth login",
}


def _failure(
    host: str,
    status: int,
    error_type: str,
    fields: Mapping[str, Any],
    headers: Mapping[str, str],
    ended: bool,
) -> Failure:
    word = _word(status, error_type, fields)
    request_id = checked.code(headers.get("x-amzn-RequestId"))
    if word in _PASSING or word is None or status >= 500 or status == 429:
        return Failure(
            code="KA-SERVICE",
            message=f"The sign-in service at {host} is busy or out of order (status {status}).",
            next_step="Repeat it in a moment.",
            retry_after=5 if word == "slow_down" else None,
            reason=word,
            request_id=request_id,
        )
    if ended:
        why = _ENDED.get(word, f"the service answered {word}")
        message, next_step = f"The sign-in has ended: {why}.", "Sign in again: kiro-auth login"
    else:
        message = _REFUSED.get(word, f"The sign-in service at {host} answered {word}.")
        next_step = _REMEDIES.get(word, "Run kiro-auth login once more.")
    detail = _policy(fields)
    return Failure(
        code="KA-SIGNIN" if ended else "KA-LOGIN",
        message=f"{message} {detail}".strip(),
        next_step=next_step,
        reason=word,
        request_id=request_id,
    )


def _word(status: int, error_type: str, fields: Mapping[str, Any]) -> str | None:
    """The service's word for an error; None when only the status speaks and it tells of a passing fault.

    The body counts before the header, the header before `__type`.
    """
    if error := fields.get("error"):
        return checked.code(error) or _UNREADABLE
    for kind in (error_type, fields.get("__type")):
        if isinstance(kind, str) and kind:
            name = kind.split(":")[0].rsplit("#")[-1]
            return _WORDS.get(name, checked.code(name) or _UNREADABLE)
    if status in (400, 401, 403) and fields.get("message"):
        # The social service speaks like this: "Bad credentials", "Invalid refresh token provided".
        return "invalid_grant"
    return "slow_down" if status == 429 else None


def _policy(fields: Mapping[str, Any]) -> str:
    """What an organisation's administrator needs to know, where the service says it (KMS_… reasons)."""
    reason = checked.code(fields.get("reason"))
    return f"The service names {reason}." if reason and reason.startswith("KMS_") else ""
