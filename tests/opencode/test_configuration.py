"""What is read of OpenCode's configuration: whether it can be read, and what in it keeps Kiro out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_auth.opencode.configuration import (
    place_of_error,
    provider_setting_against_kiro,
    without_comments,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="{")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab/*,", max_size=4), inner),
)


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        pytest.param('{"disabled_providers": ["kiro"]}', "disabled_providers", id="disabled"),
        pytest.param('{"enabled_providers": ["openai"]}', "enabled_providers", id="others alone"),
        pytest.param('{"enabled_providers": ["openai", "kiro"]}', None, id="among the enabled"),
        pytest.param('{"disabled_providers": ["openai"]}', None, id="another one"),
        pytest.param('{/* "disabled_providers": ["kiro"] */}', None, id="in a comment"),
        pytest.param("{}", None, id="nothing said"),
    ],
)
def test_the_setting_that_keeps_the_provider_out_is_named(text: str, setting: str | None) -> None:
    assert provider_setting_against_kiro(text) == setting


@pytest.mark.parametrize(
    "text",
    ["", '{"a": 1, // one\n}', '{"a": [1, 2,], /* more\n */ "b": {env:HOME}}', '{"a": "//{file:x}"}'],
)
def test_what_opencode_reads_has_no_error(text: str) -> None:
    assert place_of_error(text) is None


def test_an_error_is_placed_where_it_stands_behind_comments() -> None:
    assert place_of_error('{ // one\n  /* two\n  */ "a": 1 "b"}') == (3, 13)


@given(VALUES)
def test_json_without_comments_stays_as_it_is(value: object) -> None:
    text = json.dumps(value)

    assert without_comments(text) == text
