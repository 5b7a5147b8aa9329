"""The configuration in `OPENCODE_CONFIG_CONTENT`: the user's own stays, ours is added."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kiro_auth.failures import ConfigFailed
from kiro_auth.opencode.content import with_ours

OURS = {"model": "kiro/a", "provider": {"kiro": {"name": "Kiro"}}}


@pytest.mark.parametrize(
    ("own", "together"),
    [
        pytest.param("", OURS, id="none"),
        pytest.param('{"model": "x/y"}', OURS, id="the-model-is-the-one-asked-for"),
        pytest.param('{\n// mine\n"theme": "x",\n}', {"theme": "x", **OURS}, id="comments-and-commas"),
        pytest.param(
            '{"provider": {"mine": {}, "kiro": {"models": {"b": {}}}}}',
            {"model": "kiro/a", "provider": {"mine": {}, "kiro": {"name": "Kiro", "models": {"b": {}}}}},
            id="other-providers-and-models",
        ),
        pytest.param('{"provider": null}', OURS, id="null"),
    ],
)
def test_ours_is_merged_into_theirs(own: str, together: dict[str, Any]):
    assert json.loads(with_ours(own, OURS)) == together


@pytest.mark.parametrize("own", ["{", "[]", "kiro", '"text"', "[" * 5000])
def test_what_cannot_be_read_is_named_and_not_dropped(own: str):
    with pytest.raises(ConfigFailed, match="OPENCODE_CONFIG_CONTENT"):
        with_ours(own, OURS)
