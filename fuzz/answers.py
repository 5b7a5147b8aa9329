"""Any answer of the services gives values that can be kept, shown and said again, or TurnFailed."""

from __future__ import annotations

import contextlib
import math
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from fuzz.mutation import changed_json
from kiro_auth.accounts.usage_row import usage_row, used_credits, used_up
from kiro_auth.failures import TurnFailed
from kiro_auth.json_values import as_objects, object_in
from kiro_auth.kiro import faults, models
from kiro_auth.kiro.tokens.answers import Answer
from kiro_auth.kiro.tokens.grants import LONGEST_LIFETIME, renewed
from kiro_auth.login.profiles import identity_of, profiles_in

_NOW = 1_800_000_000.0
_TOKENS = {
    "accessToken": "a",
    "refreshToken": "r",
    "expiresIn": 3600,
    "profileArn": "arn:aws:x:us-east-1:1:p",
}
_USAGE = {
    "nextDateReset": _NOW,
    "subscriptionInfo": {"subscriptionTitle": "KIRO PRO", "type": "Q"},
    "userInfo": {"userId": "u", "email": "ada@example.com"},
    "overageConfiguration": {"overageStatus": "ENABLED", "overageLimit": 10.0},
    "usageBreakdownList": [
        {
            "resourceType": "CREDIT",
            "displayName": "Credit",
            "currentUsageWithPrecision": 1.5,
            "usageLimit": 1000,
            "currentOverages": 1,
            "overageCharges": 0.1,
            "currency": "USD",
            "freeTrialInfo": {"freeTrialStatus": "ACTIVE", "freeTrialExpiry": _NOW, "usageLimit": 9},
            "bonuses": [{"status": "ACTIVE", "displayName": "Gift", "expiresAt": 1e12, "usageLimit": 5}],
        }
    ],
}
_EFFORT = {"properties": {"effort": {"enum": ["low", "high"]}}}
_MODELS = {
    "defaultModel": {"modelId": "m"},
    "models": [
        {
            "modelId": "m",
            "modelName": "M",
            "rateMultiplier": 1.0,
            "supportedInputTypes": ["TEXT", "IMAGE"],
            "tokenLimits": {"maxInputTokens": 200_000, "maxOutputTokens": 64_000},
            "additionalModelRequestFieldsSchema": {
                "properties": {"output_config": _EFFORT, "max_tokens": {"minimum": 1, "maximum": 9}}
            },
        }
    ],
}
_PROFILES = {"profiles": [{"arn": "arn:aws:codewhisperer:us-east-1:1:profile/A", "profileName": "Mine"}]}
_ERROR = {"__type": "x#ThrottlingException", "message": "Slow down.", "retryAfterMilliseconds": 5000}


def _tokens(answer: dict[str, Any]) -> object:
    try:
        grant = renewed(Answer("host.example", answer))
    except TurnFailed as error:
        return error.failure
    given = answer.get("refreshToken") or answer.get("refresh_token")
    if isinstance(given, str) and 0 < len(given) < 1000:
        assert grant.refresh_token == given, "a new refresh token is kept whatever else is odd"
    assert grant.access_token or grant.refresh_token
    assert grant.access_token.isascii()
    assert grant.access_token == "" or grant.access_token.isprintable()
    assert 0 < grant.expires_in <= LONGEST_LIFETIME
    return grant.expires_in, grant.profile_arn


def _usage(answer: dict[str, Any]) -> object:
    row = usage_row(answer, _NOW)
    used_up(row)
    for name in ("resetAt", "lastSync"):
        if row[name] is not None:
            datetime.fromtimestamp(row[name] / 1000, UTC)
    return row, used_credits(row), msgspec.to_builtins(identity_of(answer))


def _models(answer: dict[str, Any]) -> object:
    listed = models.parse(answer)
    for model in listed:
        assert model.id
        assert 0 < model.context_window < 2**40
    if listed:
        models.unknown("claude", listed)
        models.resolve("claude-max", listed)
    return msgspec.to_builtins([model.name for model in listed])


def _profiles(answer: dict[str, Any]) -> object:
    return msgspec.to_builtins(profiles_in(as_objects(answer.get("profiles")), "us-east-1"))


def _refusal(answer: dict[str, Any]) -> object:
    failure = faults.classify(status=400, headers={}, body=msgspec.json.encode(answer))
    return failure.sentence(), failure.code, failure.reason, failure.retry_after


_READERS: Mapping[str, tuple[object, Callable[[dict[str, Any]], object]]] = {
    "tokens": (_TOKENS, _tokens),
    "usage": (_USAGE, _usage),
    "models": (_MODELS, _models),
    "profiles": (_PROFILES, _profiles),
    "refusal": (_ERROR, _refusal),
}

INPUTS = st.sampled_from(sorted(_READERS)).flatmap(
    lambda name: st.tuples(st.just(name), changed_json([_READERS[name][0]]))
)


def check(data: tuple[str, bytes]) -> None:
    """The invariant, for one input: which reader, and the answer's bytes."""
    name, text = data
    answer = object_in(text)
    if answer is None:
        return
    with contextlib.suppress(TurnFailed):
        _check_value(msgspec.json.decode(msgspec.json.encode(_READERS[name][1](answer))))


def _check_value(value: object) -> None:
    """What comes of it has no figure without end and no character that does not show."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_value(key)
            _check_value(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_value(inner)
    elif isinstance(value, str):
        assert len(value) <= 4096
        assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)
    elif isinstance(value, float):
        assert math.isfinite(value)
